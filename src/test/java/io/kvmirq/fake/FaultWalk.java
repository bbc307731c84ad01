/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatCode;
import static org.assertj.core.api.Assertions.catchThrowable;

import io.kvmirq.Errno;
import io.kvmirq.undo.Undo;
import java.util.List;
import java.util.Set;
import java.util.function.BiFunction;
import java.util.function.Supplier;
import java.util.stream.Stream;

/**
 * Every call of an operation fails in turn: what the kernel has is then what it had before, the operation says so and
 * succeeds when it is tried again, and nothing is left at the end. So does every call of taking down what it made, which
 * never throws. A call fails with an errno, alone or with all that follow, or with a StackOverflowError or
 * OutOfMemoryError: then taking down is tried again and finishes.
 */
public final class FaultWalk {
    /** A kernel with faults, where one call of an operation fails. */
    public interface World {
        Faults faults();

        /** The state of the kernel. */
        Object state();

        /** Whether an errno of a call changes nothing. */
        boolean ignores(String call);

        /** The exceptions of a call that fails; with all that follow failing, others are thrown too. */
        boolean explains(Throwable failure, boolean allFail);

        /** Whether taking down goes on after an Error and throws none. */
        default boolean survivesErrors() {
            return false;
        }

        /**
         * Closes the kernel, which has nothing left.
         *
         * @param refused the calls of taking down that the kernel refused
         */
        void requireNothingLeft(Object atFirst, List<String> refused);
    }

    private FaultWalk() {}

    /**
     * Walks up and down.
     *
     * @param prepare gives what to do, and that gives what there is to close
     * @param again whether it can be tried again after a failure
     */
    public static <W extends World> void walk(
            String operation, Supplier<W> worlds, BiFunction<W, Undo, Supplier<AutoCloseable>> prepare, boolean again) {
        List<String> up = up(worlds.get(), prepare, again, 0, How.ERRNO);
        List<String> down = down(worlds.get(), prepare, 0, How.ERRNO);
        for (How how : How.values()) {
            for (int nth = 1; nth <= up.size(); nth++) {
                if (how.canFail(up.get(nth - 1))) {
                    up(worlds.get(), prepare, again, nth, how);
                }
            }
            for (int nth = 1; nth <= down.size(); nth++) {
                if (how.canFail(down.get(nth - 1))) {
                    down(worlds.get(), prepare, nth, how);
                }
            }
        }
        System.out.println("walked " + operation + ": " + String.join(", ", up) + "; back: " + String.join(", ", down));
    }

    private enum How {
        ERRNO,
        ERRNO_AND_ALL_AFTER,
        STACK_OVERFLOW,
        OUT_OF_MEMORY;

        private static final int MANY = 60;

        boolean isError() {
            return this == STACK_OVERFLOW || this == OUT_OF_MEMORY;
        }

        /** Closing a descriptor or a mapping needs no memory, and takes place whatever the kernel answers. */
        boolean canFail(String call) {
            return !isError() || !Set.of("close", "fdClose", "munmap").contains(call);
        }

        /** The calls that the kernel refused. */
        List<String> refused(List<String> calls, int nth) {
            return nth == 0 || isError() ? List.of() : calls.subList(nth - 1, this == ERRNO ? nth : calls.size());
        }

        void in(Faults faults, int nth, Errno errno) {
            if (nth == 0) {
                return;
            }
            switch (this) {
                case ERRNO -> faults.fail(Faults.ANY, nth, errno);
                case ERRNO_AND_ALL_AFTER -> {
                    faults.fail(Faults.ANY, nth, errno);
                    for (int later = nth + 1; later < nth + MANY; later++) {
                        faults.fail(Faults.ANY, later, Errno.EIO);
                    }
                }
                case STACK_OVERFLOW ->
                    faults.delay(Faults.ANY, nth, () -> {
                        throw new StackOverflowError();
                    });
                case OUT_OF_MEMORY ->
                    faults.delay(Faults.ANY, nth, () -> {
                        throw new OutOfMemoryError();
                    });
            }
        }
    }

    /** @param nth the number of the call that fails; 0 for none */
    private static <W extends World> List<String> up(
            W world, BiFunction<W, Undo, Supplier<AutoCloseable>> prepare, boolean again, int nth, How how) {
        Object atFirst = world.state();
        List<String> calls;
        try (Undo undo = new Undo()) {
            Supplier<AutoCloseable> prepared = prepare.apply(world, undo);
            Object before = world.state();
            world.faults().listen();
            how.in(world.faults(), nth, Errno.EMFILE);
            Throwable failed = catchThrowable(() -> undo.add(prepared.get()));
            calls = world.faults().calls();
            world.faults().clear();
            String step = "step " + nth + " of " + calls + " fails by " + how + ": " + failed;
            boolean allFail = how == How.ERRNO_AND_ALL_AFTER;
            boolean ignored = nth == 0 || !how.isError() && world.ignores(calls.get(nth - 1));
            if (!ignored || !allFail) {
                assertThat(failed == null).as(step).isEqualTo(ignored);
            }
            assertThat(Stream.ofNullable(failed))
                    .as(step)
                    .allMatch(e -> how.isError() ? e instanceof VirtualMachineError : world.explains(e, allFail));
            // An object that the kernel did not take back is there until its file is closed.
            if (failed != null && !allFail) {
                assertThat(world.state()).as(step).isEqualTo(before);
                if (again) {
                    assertThatCode(() -> prepared.get().close())
                            .as("again, " + step)
                            .doesNotThrowAnyException();
                }
            }
        }
        world.requireNothingLeft(atFirst, List.of());
        return calls;
    }

    private static <W extends World> List<String> down(
            W world, BiFunction<W, Undo, Supplier<AutoCloseable>> prepare, int nth, How how) {
        Object atFirst = world.state();
        List<String> calls;
        try (Undo undo = new Undo()) {
            AutoCloseable made = prepare.apply(world, undo).get();
            world.faults().listen();
            how.in(world.faults(), nth, Errno.EIO);
            String step = "step " + nth + " fails on the way down by " + how;
            if (nth > 0 && how.isError()) {
                Throwable error = catchThrowable(made::close);
                assertThat(error instanceof VirtualMachineError || error == null && world.survivesErrors())
                        .as(step + ": " + error)
                        .isTrue();
            }
            assertThatCode(made::close).as(step).doesNotThrowAnyException();
            calls = world.faults().calls();
            world.faults().clear();
        }
        world.requireNothingLeft(atFirst, how.refused(calls, nth));
        return calls;
    }
}
