/* SPDX-License-Identifier: Apache-2.0 */
package tinyvmm;

import io.kvmirq.kernel.ClosedHandleException;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kvm.IoEventFd;
import io.kvmirq.kvm.Vm;
import java.time.Duration;
import java.util.concurrent.CountDownLatch;

/**
 * The device under test: a serial port that sends a byte, with one interrupt, to a guest that sends it back: an
 * ioeventfd is the doorbell, and no vCPU exits for it. The guest begins by any other byte. Of two edges that wait in
 * the interrupt controller, one is lost, so that each byte waits for the guest's handler of the one before.
 */
final class EchoDevice implements AutoCloseable {
    static final int BYTE = 'U';
    private static final int MOST_AHEAD = 10;
    private static final Duration LONGEST = Duration.ofSeconds(20);

    private final EventFd doorbell;
    private final IoEventFd ioEventFd;
    final Serial serial;
    private final CountDownLatch begun = new CountDownLatch(1);
    private volatile int sent;
    private volatile long answered;

    EchoDevice(Vm vm, Platform platform) {
        doorbell = EventFd.create(vm.kernel());
        ioEventFd = vm.assignIoEventFd(platform.doorbell, doorbell);
        serial = new Serial(platform.deviceInterrupt(), other -> begun.countDown(), false);
    }

    /** Sends so many bytes, until all are answered, one is lost, or the guest has ended. */
    void send(int count) {
        try {
            begun.await();
            for (boolean isGoing = true; isGoing && answered < count; ) {
                if (sent < count && sent - answered < MOST_AHEAD) {
                    sent++;
                    serial.receive(BYTE);
                    isGoing = serial.awaitHandler(LONGEST);
                } else {
                    isGoing = doorbell.await(LONGEST);
                }
                answered += doorbell.drain();
            }
        } catch (InterruptedException | ClosedHandleException e) {
            Thread.currentThread().interrupt();
        }
    }

    boolean isAnswered(int count) {
        return sent == count && answered == count;
    }

    @Override
    public String toString() {
        return sent + " interrupts sent, " + answered + " answered, " + (sent - answered) + " lost";
    }

    @Override
    public void close() {
        ioEventFd.close();
        doorbell.close();
    }
}
