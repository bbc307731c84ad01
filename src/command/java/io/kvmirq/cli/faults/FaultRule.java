/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.faults;

import io.kvmirq.Errno;
import io.kvmirq.text.Foreign;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** A row of the launcher's table. Without an errno the calls are only counted. {@code nth} is from 1; 0 is each. */
record FaultRule(String call, long request, Optional<Errno> errno, int nth) {
    static final String FORM = "CALL=ERRNO[@N]";

    private static final Pattern TEXT = Pattern.compile("([^=]*)=([^@]*)(?:@(\\d{1,9}))?");

    static FaultRule counting(String call, long request) {
        return new FaultRule(call, request, Optional.empty(), 0);
    }

    static FaultRule failing(String call, long request, Errno errno, int nth) {
        return new FaultRule(call, request, Optional.of(errno), nth);
    }

    /** @throws IllegalArgumentException if the text is not a rule; the message names the mistake */
    static FaultRule of(String text) {
        Matcher parts = TEXT.matcher(text);
        if (!parts.matches()) {
            throw new IllegalArgumentException(
                    Foreign.quoted(text) + " is no fault: expected " + FORM + ", such as KVM_SET_GSI_ROUTING=EINVAL@2");
        }
        int nth = parts.group(3) == null ? 0 : Integer.parseInt(parts.group(3));
        if (parts.group(3) != null && nth == 0) {
            throw new IllegalArgumentException(Foreign.quoted(text) + ": the first call is @1");
        }
        return failing(parts.group(1), Requests.number(parts.group(1)), errno(parts.group(2)), nth);
    }

    /** @throws IllegalArgumentException if the text is not an errno */
    static Errno errno(String word) {
        OptionalInt number = Errno.numberOf(word);
        if (number.isEmpty() || number.getAsInt() == 0) {
            throw new IllegalArgumentException(Foreign.quoted(word)
                    + " is not an errno: expected a name such as EBUSY, or a number from 1 to 4095");
        }
        return new Errno(number.getAsInt());
    }

    /** The rule in the form that the launcher reads. */
    String row() {
        return request + ":" + errno.map(Errno::number).orElse(0) + ":" + nth;
    }

    @Override
    public String toString() {
        return call + errno.map(answer -> "=" + answer).orElse("") + (nth == 0 ? "" : "@" + nth);
    }
}
