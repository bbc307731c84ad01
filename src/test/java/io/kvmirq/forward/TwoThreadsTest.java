/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import static io.kvmirq.forward.ForwardWorld.PIN;
import static io.kvmirq.forward.ForwardWorld.message;
import static io.kvmirq.forward.ForwardWorld.vector;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Route;
import io.kvmirq.kernel.EventLoop;
import io.kvmirq.testing.FiringKernel;
import java.util.List;
import java.util.concurrent.atomic.AtomicReference;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * Two threads change one forwarded interrupt. The second one's change begins before each kernel call of the first one's in
 * turn, where the device also sends, and goes on until it ends or waits for a lock.
 */
class TwoThreadsTest {
    private static final int FIRST_VECTOR = 0x30;
    private static final List<Boolean> EITHER = List.of(false, true);

    /** A change of an interrupt. A message may be rerouted to the next vector. */
    private enum Change {
        TO_USERSPACE {
            @Override
            void make(ForwardedIrq irq, int vector) {
                irq.moveTo(Mechanism.USERSPACE);
            }
        },
        TO_KERNEL {
            @Override
            void make(ForwardedIrq irq, int vector) {
                irq.moveTo(irq.message().isPresent() ? Mechanism.IRQFD : Mechanism.RESAMPLE);
            }
        },
        MASK {
            @Override
            void make(ForwardedIrq irq, int vector) {
                irq.mask();
            }
        },
        UNMASK {
            @Override
            void make(ForwardedIrq irq, int vector) {
                irq.unmask();
            }
        },
        REROUTE {
            @Override
            void make(ForwardedIrq irq, int vector) {
                if (irq.message().isPresent()) {
                    irq.reroute(message(vector + 1));
                }
            }
        },
        CLOSE {
            @Override
            void make(ForwardedIrq irq, int vector) {
                irq.close();
            }
        };

        abstract void make(ForwardedIrq irq, int vector);
    }

    /** A VM of its own, and the number of the vector of the next message. */
    private static final class World implements AutoCloseable {
        private final AtomicReference<@Nullable FiringKernel> firing = new AtomicReference<>();
        private final ForwardWorld world = new ForwardWorld("6.12", backend -> {
            FiringKernel made = new FiringKernel(backend, true);
            firing.set(made);
            return made.backend();
        });
        private final EventLoop loop = EventLoop.create(world.kernel);
        private final Forwarding forwarding = Forwarding.builder(world.vm, world.device)
                .userspace(Userspace.into(world.vm, loop))
                .build();
        private final Thread main = Thread.currentThread();
        private final AtomicReference<@Nullable Throwable> failed = new AtomicReference<>();
        private int vector = FIRST_VECTOR;

        /** @return whether the first change has that many calls */
        boolean race(Change first, Change second, boolean isLine, boolean relayed, boolean masked, int window) {
            vector += 2;
            ForwardedIrq irq = isLine
                    ? forwarding.forward(world.device.intx(), PIN)
                    : forwarding.forward(world.device.msix().get(0), message(vector));
            if (relayed) {
                irq.moveTo(Mechanism.USERSPACE);
            }
            if (masked) {
                irq.mask();
            }
            Thread other = new Thread(() -> tried(() -> second.make(irq, vector)));
            int[] calls = {0};
            FiringKernel kernel = firing.get();
            assertThat(kernel).isNotNull();
            kernel.before(() -> {
                if (Thread.currentThread() == main && ++calls[0] == window) {
                    if (isLine) {
                        world.hardware.requestService();
                    } else {
                        world.hardware.sendMessage(0);
                    }
                    other.start();
                    FiringKernel.awaitEndOrLock(other);
                }
            });
            tried(() -> first.make(irq, vector));
            kernel.before(() -> {});
            boolean raced = calls[0] >= window;
            if (raced) {
                joined(other);
                boolean ends = first == Change.CLOSE || second == Change.CLOSE;
                Throwable thrown = failed.getAndSet(null);
                if (thrown != null && !(ends && thrown instanceof IllegalStateException)) {
                    throw new AssertionError(thrown);
                }
                if (!ends) {
                    irq.unmask();
                    loop.pollNanos(0);
                    if (isLine) {
                        assertThat(isHigh()).as("line of the race").isTrue();
                    } else {
                        assertThat(isRequested(vector) || isRequested(vector + 1))
                                .as("message of the race")
                                .isTrue();
                    }
                }
            }
            world.hardware.serve();
            irq.close();
            return raced;
        }

        private boolean isHigh() {
            return world.vm.x86().ioapic().isHigh(new Route.Pin(PIN, Route.Chip.IOAPIC, PIN.number()));
        }

        private boolean isRequested(int number) {
            return world.first.x86().isRequested(vector(number));
        }

        private void tried(Runnable change) {
            try {
                change.run();
            } catch (RuntimeException e) {
                failed.set(e);
            }
        }

        private static void joined(Thread other) {
            try {
                other.join();
            } catch (InterruptedException e) {
                throw new AssertionError(e);
            }
        }

        @Override
        public void close() {
            forwarding.close();
            loop.close();
            world.closeAndExpectNothingLeft();
        }
    }

    @ParameterizedTest
    @EnumSource
    void changesOfTwoThreadsLoseNothingAndDoNotFail(Change first) {
        int races = 0;
        for (Change second : Change.values()) {
            for (boolean isLine : EITHER) {
                for (boolean relayed : EITHER) {
                    for (boolean masked : EITHER) {
                        races += races(first, second, isLine, relayed, masked);
                    }
                }
            }
        }
        assertThat(races).isPositive();
    }

    private static int races(Change first, Change second, boolean isLine, boolean relayed, boolean masked) {
        int window = 1;
        try (World world = new World()) {
            while (world.race(first, second, isLine, relayed, masked, window)) {
                window++;
            }
            return window - 1;
        } catch (AssertionError e) {
            throw new AssertionError(
                    second + " before call " + window + " of " + first + (isLine ? ", line" : ", message")
                            + (relayed ? ", relayed" : ", in the kernel")
                            + (masked ? ", masked" : "") + ": " + e.getMessage(),
                    e);
        }
    }
}
