/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.vtd.posting;

import io.kvmirq.arch.apic.PostedInterruptDescriptor;
import io.kvmirq.explorer.Actor;
import io.kvmirq.explorer.ExploredWords;
import io.kvmirq.explorer.Explorer;
import io.kvmirq.explorer.Memory;
import io.kvmirq.explorer.Operation;
import io.kvmirq.explorer.Space;
import java.util.List;
import java.util.Optional;

/** A sender writes its data and requests a vector, twice; whoever takes the request reads the data. */
final class DataSpace implements Space, Explorer.Model {
    private static final int VECTOR = 0x31;
    private static final int IRR = PiDescriptor.WORDS;
    private static final int DATA = IRR + PiDescriptor.PIR_WORDS;
    private static final int SEEN = DATA + 1;

    private final ExploredWords words;
    private final PiDescriptor pid;

    DataSpace(PostedVariant variant) {
        words = variant.words(SEEN + 1);
        pid = variant.over(words, 0);
    }

    @Override
    public long[] start() {
        return new long[SEEN + 1];
    }

    @Override
    public Explorer explorer(Memory memory) {
        Operation take = Operation.of("sync", words.running(() -> {
                    if (pid.sync(words, IRR)) {
                        words.set(SEEN, words.get(DATA));
                    }
                }))
                .when(state -> PostedInterruptDescriptor.ON.isSet(state[PostedInterruptDescriptor.CONTROL]));
        List<Actor> actors = List.of(
                Actor.of(
                        "sender",
                        Operation.of("first", words.running(() -> send(1))),
                        Operation.of("second", words.running(() -> send(2)))),
                Actor.answering("receiver", take));
        return new Explorer(actors, memory, this);
    }

    private void send(long data) {
        words.set(DATA, data);
        pid.deliver(VECTOR);
    }

    @Override
    public Optional<String> lost(long[] memory) {
        return memory[SEEN] == 2
                ? Optional.empty()
                : Optional.of("the receiver saw data " + memory[SEEN] + " last and will not look again, it is "
                        + memory[DATA]);
    }

    @Override
    public boolean isConstant(int word) {
        return word > 0 && word < PiDescriptor.PIR_WORDS || word > IRR && word < DATA;
    }

    @Override
    public String describe(Explorer.Access access) {
        return switch (access.word()) {
            case DATA -> said(access, "data");
            case SEEN -> said(access, "data seen");
            default -> WordNames.describe(access, word -> word < PiDescriptor.PIR_WORDS ? "PIR" : "IRR");
        };
    }

    private static String said(Explorer.Access access, String name) {
        return switch (access.kind()) {
            case LOAD -> "reads " + name + " = " + access.after();
            case DRAIN -> "its store is seen: " + name + " = " + access.after();
            default -> name + " = " + access.after() + " (plain store)";
        };
    }
}
