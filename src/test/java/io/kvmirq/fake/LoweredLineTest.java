/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import static io.kvmirq.testing.Refusals.refused;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.Gsi;
import io.kvmirq.Route;
import io.kvmirq.Spi;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.gic.model.DistributorRegister;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Ownership;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.kvm.VgicV3;
import io.kvmirq.kvm.Vm;
import io.kvmirq.testing.Numbers;
import java.lang.reflect.InvocationHandler;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

/**
 * LevelLines: the line of a level irqfd on arm64 is low before its deassign begins: during that the kernel hears of no EOI, and a guest
 * would take a high line again and again.
 */
class LoweredLineTest {
    private static final Spi SPI = new Spi(42);
    private static final Gsi GSI = new Gsi(SPI.pin());
    private static final VcpuId FIRST = new VcpuId(0);

    private final FakeKernel fake = new FakeKernel(Profile.parse("6.12,arm64"));
    /** Whether the line is high when a deassign begins. */
    private final List<Boolean> highAtDeassign = new ArrayList<>();

    /** Runs before the next KVM_IRQ_LINE. */
    private Runnable atLower = () -> {};

    private boolean refuses;
    private final Kernel kernel = Kernel.over(looking(fake.backend()));
    private final Vm vm = Vm.create(kernel);
    private final VgicV3 vgic;

    LoweredLineTest() {
        vm.createVcpu(FIRST).arm64().initialize();
        vgic = vm.arm64().createVgicV3();
        vgic.setDistributor(0x800_0000L);
        vgic.setRedistributors(0x80a_0000L);
        vgic.init();
        vgic.writeDistributor(DistributorRegister.GICD_ICFGR.offset() + SPI.number() / 16 * 4, 0); // level
    }

    private KernelBackend looking(KernelBackend backend) {
        return (KernelBackend) Proxy.newProxyInstance(
                getClass().getClassLoader(), new Class<?>[] {KernelBackend.class}, (proxy, method, arguments) -> {
                    if (method.isDefault()) {
                        return InvocationHandler.invokeDefault(proxy, method, arguments);
                    }
                    if (method.getName().equals("lineSet")) {
                        Runnable now = atLower;
                        atLower = () -> {};
                        now.run();
                    }
                    if (method.getName().equals("irqfdDeassign")) {
                        highAtDeassign.add(isHigh());
                        if (refuses) {
                            return -Errno.EBADF.number();
                        }
                    }
                    try {
                        return method.invoke(backend, arguments);
                    } catch (InvocationTargetException e) {
                        throw e.getCause();
                    }
                });
    }

    private boolean isHigh() {
        return (vgic.readLines(FIRST, 32) >>> SPI.number() - 32 & 1) == 1;
    }

    private Irqfd irqfd(EventFd event, EventFd resample) {
        return vm.assignLevelIrqfd(event, resample, GSI);
    }

    @Test
    void lineIsLowWhenTheDeassignOfAMaskBegins() {
        EventFd event = EventFd.create(kernel);
        EventFd resample = EventFd.create(kernel);
        Irqfd irqfd = irqfd(event, resample);
        event.signal();
        assertThat(isHigh()).isTrue();
        irqfd.mask();
        assertThat(highAtDeassign).containsExactly(false);
        assertThat(resample.drain()).as("the device is asked to signal again").isEqualTo(1);
        event.signal();
        irqfd.unmask();
        assertThat(isHigh()).isTrue();
        irqfd.close();
        assertThat(highAtDeassign).containsExactly(false, false);
    }

    @Test
    void deviceSignalsAgainWhereTheDeassignIsRefused() {
        EventFd event = EventFd.create(kernel);
        EventFd resample = EventFd.create(kernel);
        Irqfd irqfd = irqfd(event, resample);
        event.signal();
        refuses = true;
        refused(Errno.EBADF, irqfd::mask);
        assertThat(resample.drain()).isEqualTo(1);
        event.signal();
        assertThat(isHigh()).isTrue();
    }

    @Test
    void lineOfAnotherIrqfdStaysHigh() {
        EventFd event = EventFd.create(kernel);
        Irqfd irqfd = irqfd(event, EventFd.create(kernel));
        irqfd(EventFd.create(kernel), EventFd.create(kernel));
        event.signal();
        irqfd.mask();
        assertThat(highAtDeassign).containsExactly(true);
        assertThat(isHigh()).as("the other one's, too").isTrue();
    }

    /** The program that made the VM may have an irqfd of its own on the line, which nobody counts. */
    @Test
    void lineOfAVmOfAnotherProgramIsLeftToTheKernel() {
        EventFd theirs = EventFd.create(kernel);
        irqfd(theirs, EventFd.create(kernel));
        Vm adopted = Vm.adopt(
                kernel, Numbers.of(vm.fd()), Ownership.BORROWED, List.of(new Route.Pin(GSI, Route.Chip.VGIC, 10)), GSI);
        Irqfd irqfd = adopted.assignLevelIrqfd(EventFd.create(kernel), EventFd.create(kernel), GSI);
        theirs.signal();
        irqfd.mask();
        assertThat(highAtDeassign).containsExactly(true);
        assertThat(isHigh()).isTrue();
    }

    /** Another thread unmasks an irqfd of the line between the end of the last one and its call that lowers the line. */
    @Test
    void lineThatAnotherThreadRaisesMeanwhileStaysHigh() throws Exception {
        EventFd event = EventFd.create(kernel);
        Irqfd irqfd = irqfd(EventFd.create(kernel), EventFd.create(kernel));
        Irqfd other = irqfd(event, EventFd.create(kernel));
        other.mask();
        event.signal();
        Thread unmasks = new Thread(other::unmask);
        atLower = () -> {
            unmasks.start();
            // It waits for the lock of the line, or it raised the line already and has ended.
            while (unmasks.getState() != Thread.State.WAITING && unmasks.isAlive()) {
                Thread.onSpinWait();
            }
        };
        irqfd.mask();
        unmasks.join();
        assertThat(isHigh()).isTrue();
    }

    @Test
    void closeOfManyLowersTheLine() {
        EventFd event = EventFd.create(kernel);
        Irqfd irqfd = irqfd(event, EventFd.create(kernel));
        EventFd otherEvent = EventFd.create(kernel);
        Irqfd last = vm.assignLevelIrqfd(otherEvent, EventFd.create(kernel), new Gsi(GSI.number() + 1));
        event.signal();
        event.close();
        otherEvent.close();
        Irqfd.closeAll(List.of(irqfd, last));
        assertThat(highAtDeassign).as("neither ends with its file").containsExactly(false, false);
    }

    @Test
    void closeAfterTheVmLowersTheLine() {
        EventFd event = EventFd.create(kernel);
        Irqfd irqfd = irqfd(event, EventFd.create(kernel));
        event.signal();
        vm.close();
        irqfd.close();
        assertThat(highAtDeassign).containsExactly(false);
    }
}
