/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.differential;

import java.util.Arrays;
import java.util.List;
import java.util.stream.Collectors;

/** One call with its arguments, the same for both sides. */
record Call(Operation operation, List<Long> arguments) {
    static Call call(Operation operation, long... arguments) {
        return new Call(operation, Arrays.stream(arguments).boxed().toList());
    }

    long at(int index) {
        return arguments.get(index);
    }

    int intAt(int index) {
        return arguments.get(index).intValue();
    }

    /** As Java. */
    @Override
    public String toString() {
        return "call(" + operation
                + arguments.stream().map(argument -> ", " + literal(argument)).collect(Collectors.joining()) + ")";
    }

    private static String literal(long value) {
        if (value >= -4096 && value < 65536) {
            return Long.toString(value);
        }
        return "0x" + Long.toHexString(value) + (value == (int) value && value > 0 ? "" : "L");
    }
}
