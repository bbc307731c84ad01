/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.Supplier;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

/** The call that the ledger names for a lost message. */
class LedgerCallsTest {
    private final Ledger ledger = new Ledger();
    private boolean holds = true;
    private final MessagePlace place = new MessagePlace(slot -> holds, slot -> "the place");
    private final int source = ledger.register(new MessageSource() {
        @Override
        public boolean isEnded() {
            return false;
        }

        @Override
        public boolean signals(MessageSource event) {
            return false;
        }

        @Override
        public boolean hasIrqfd() {
            return false;
        }

        @Override
        public String toString() {
            return "the source";
        }
    });

    private void send() {
        ledger.begin("ioctl", 0, 3);
        ledger.send(source);
        ledger.put(place, 0);
        ledger.end();
    }

    private void write(int fd) {
        ledger.beginWrite(fd);
        ledger.endSignal();
    }

    private void call(String name, int fd) {
        ledger.begin(name, 0, fd);
        ledger.end();
    }

    @Test
    void messageThatVanishedMayHaveDoneSoInAWrite() {
        send();
        write(7);
        holds = false;
        write(8);
        call("close", 4);
        assertThat(ledger.lost())
                .extracting(Supplier::get)
                .containsExactly(
                        "it vanished, in this call or since the write of descriptor 7 before it; source the source,"
                                + " last place the place, call close of descriptor 4");
    }

    @Test
    void messagesThatVanishedFromTwoSlotsAreTwo() {
        send();
        ledger.begin("ioctl", 0, 3);
        ledger.send(source);
        ledger.put(place, 1);
        ledger.end();
        holds = false;
        call("close", 4);
        assertThat(ledger.lost()).hasSize(2);
    }

    /** A slot is used again. */
    @Test
    void sourcesOfAnEmptiedSlotAreForgotten() {
        SourceSet slot = new SourceSet();
        for (int first : new int[] {1, 3}) {
            slot.add(first);
            slot.add(first + 1);
            assertThat(IntStream.range(0, 9).filter(slot::has)).containsExactly(first, first + 1);
            slot.remove(first);
            slot.clear();
        }
    }

    @Test
    void messageThatVanishedAfterACallDidSoInTheNextOne() {
        write(7);
        send();
        holds = false;
        call("close", 4);
        assertThat(ledger.lost())
                .extracting(Supplier::get)
                .containsExactly("it vanished; source the source, last place the place, call close of descriptor 4");
    }

    @Test
    void messageThatIsLostOutsideOfACallNamesNone() {
        call("close", 4);
        ledger.send(source);
        ledger.settle("it has no room");
        assertThat(ledger.lost())
                .extracting(Supplier::get)
                .containsExactly("it has no room; source the source, last place its source, outside of a call");
    }

    /** A place may say that nothing delays a message that its part has forgotten. */
    @Test
    void messageThatVanishedFromAnOpenSlotIsLost() {
        MessagePlace open = new MessagePlace(slot -> false, slot -> true, slot -> "an open place");
        ledger.begin("ioctl", 0, 3);
        ledger.send(source);
        ledger.put(open, 0);
        ledger.end();
        assertThat(ledger.counts()).isEqualTo(new Ledger.Counts(1, 0, 0, 0, 0, 1));
    }

    @Test
    void secondMessageOfOneSourceInOneCallIsMerged() {
        ledger.begin("ioctl", 0, 3);
        ledger.send(source);
        ledger.send(source);
        ledger.put(place, 0);
        ledger.end();
        assertThat(ledger.counts()).isEqualTo(new Ledger.Counts(2, 0, 1, 1, 0, 0));
    }

    /** A broadcast is a message for each vCPU. */
    @Test
    void copyForASecondPlaceIsAMessage() {
        ledger.begin("ioctl", 0, 3);
        ledger.send(source);
        ledger.put(place, 0);
        ledger.put(place, 1);
        ledger.end();
        assertThat(ledger.counts()).isEqualTo(new Ledger.Counts(2, 0, 0, 2, 0, 0));
    }

    /** Another call is made while one waits. */
    @Test
    void callThatWaitedIsNamed() throws InterruptedException {
        FakeTime time = new FakeTime(true, ledger);
        AtomicBoolean goesOn = new AtomicBoolean();
        Thread waits = new Thread(() -> time.locked(() -> {
            ledger.begin("read", 0, 5);
            while (!goesOn.get()) {
                time.awaitChange();
            }
            ledger.send(source);
            ledger.settle("it has no room");
            ledger.end();
            return true;
        }));
        waits.start();
        while (time.locked(time::waiting) == 0) {
            Thread.onSpinWait();
        }
        time.changing(() -> {
            call("close", 4);
            goesOn.set(true);
        });
        waits.join();
        assertThat(ledger.lost())
                .extracting(Supplier::get)
                .containsExactly("it has no room; source the source, last place its source, call read of descriptor 5");
    }
}
