/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.TestDevice.EDU;
import static io.kvmirq.contract.World.eventually;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.PciAddress;
import io.kvmirq.Route;
import io.kvmirq.forward.ForwardedIrq;
import io.kvmirq.forward.Forwarding;
import io.kvmirq.forward.KvmVfio;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Vm;
import io.kvmirq.pci.GuestMsi;
import io.kvmirq.pci.MessageSearch;
import io.kvmirq.pci.MsiSearch;
import io.kvmirq.testing.Numbers;
import io.kvmirq.testing.Search;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.undo.Undo;
import io.kvmirq.vfio.VfioDevice;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.List;
import java.util.OptionalInt;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.provider.MethodSource;

/** The MSI of a guest with two vCPUs that do not run, on a device with one message that sends it itself. */
@Tag("contract")
@ParameterizedClass(name = "{0}")
@MethodSource("io.kvmirq.contract.VfioWorld#x86")
class GuestMsiContract {
    private static final int PROGRAMS = Integer.getInteger("kvmirq.test.msix.programs", 20);
    private static final int VCPUS = 2;
    private static final int WIDE_AND_MASKABLE = 1 << 7 | 1 << 8;
    private static final int CONTROL = 2;
    private static final int ADDRESS = 4;
    private static final int DATA = 12;
    private static final int MASKS = 16;
    private static final int PENDING = 20;
    private static final Gsi PIN = new Gsi(11);
    private static final int LINE = 0x30;
    private static final int WORDS = 8;

    private final VfioWorld vfio;
    private final World world;
    private final Undo made = new Undo();
    private final Vm vm;
    private final int[] vcpus = new int[VCPUS];
    private final VfioDevice device;
    private final Hardware hardware;
    private final Forwarding forwarding;
    private final GuestMsi msi;

    GuestMsiContract(VfioWorld vfio) {
        this.vfio = vfio;
        this.world = vfio.world;
        vfio.kernel();
        world.assumeX86();
        PciAddress address = vfio.address(EDU);
        Kernel kernel = made.add(Kernel.over(vfio.kernel()));
        vm = made.add(Vm.create(kernel));
        vm.x86().createIrqchip();
        for (int i = 0; i < VCPUS; i++) {
            vcpus[i] = world.vcpuWithLapic(Numbers.of(vm.fd()), i);
        }
        device = made.add(VfioDevice.open(kernel, address, made.add(KvmVfio.create(vm))));
        hardware = vfio.hardwareOf(EDU, Numbers.of(device.fd()));
        device.config().enableMemory();
        device.config().enableBusMaster();
        forwarding = made.add(Forwarding.create(vm, device));
        msi = new GuestMsi(forwarding, device, OptionalInt.empty(), WIDE_AND_MASKABLE);
    }

    @AfterEach
    void close() {
        made.close();
        vfio.closeAll();
    }

    private List<String> requested() {
        List<String> requested = new ArrayList<>();
        for (int i = 0; i < VCPUS; i++) {
            ByteBuffer lapic = world.lapic(vcpus[i]);
            for (int word = 0; word < WORDS; word++) {
                BitSet bits =
                        BitSet.valueOf(new long[] {lapic.getInt(Uapi.KvmLapicState.IRR + word * 16) & 0xffff_ffffL});
                String of = i + ":0x";
                int first = word * Integer.SIZE;
                bits.stream().forEach(bit -> requested.add(of + Integer.toHexString(first + bit)));
            }
            if (!requested.isEmpty()) {
                world.forget(vcpus[i]);
            }
        }
        return requested;
    }

    private List<String> taken(int min) {
        List<String> taken = new ArrayList<>(requested());
        if (taken.size() < min) {
            eventually("the messages are requested", () -> {
                taken.addAll(requested());
                return taken.size() >= min;
            });
        }
        return taken;
    }

    private final MessageSearch.Device searched = new MessageSearch.Device() {
        @Override
        public boolean send(int vector) {
            hardware.send(vector);
            return false;
        }

        /** It has no reset; it is quiet. */
        @Override
        public void reset() {
            hardware.serve();
        }

        @Override
        public List<String> taken(int min) {
            return GuestMsiContract.this.taken(min);
        }

        @Override
        public long pending(long expected) {
            if (expected != 0) {
                eventually("the message is pending", () -> msi.read(PENDING, 4) == expected);
            }
            return msi.read(PENDING, 4);
        }
    };

    @Test
    void eachMessageOfRandomProgramsArrivesOnce() {
        int[] counts = new int[2];
        Search.run(vfio + " MSI", 0, PROGRAMS, random -> {
            msi.reset();
            MessageSearch search = new MsiSearch(searched, msi, 1, random);
            search.run();
            counts[0] += search.sent();
            counts[1] += search.arrived();
        });
        System.out.println(vfio + ": " + PROGRAMS + " programs of MSI, " + counts[0] + " messages sent, " + counts[1]
                + " arrived");
        assertThat(counts[1]).isPositive();
    }

    private void enable(boolean enabled) {
        msi.write(CONTROL, 2, enabled ? 1 : 0);
    }

    /** The line is forwarded while the guest does not use messages, and each way loses nothing of the other. */
    @Test
    void lineAndMessageFollowEachOther() {
        Route.Pin pin = new Route.Pin(PIN, Route.Pin.Chip.IOAPIC, PIN.number());
        msi.write(ADDRESS, 4, 0xfee0_1000);
        msi.write(DATA, 2, 0x41);
        for (int i = 0; i < 10; i++) {
            vm.x86().setIoapic(vm.x86().ioapic().levelPin(pin, new InterruptVector(LINE))); // no EOI is awaited
            ForwardedIrq line = forwarding.forward(device.intx(), PIN);
            hardware.request();
            assertThat(taken(1)).containsExactly("0:0x30");
            enable(true);
            hardware.serve();
            line.close();
            msi.settle();
            hardware.send(0);
            assertThat(taken(1)).containsExactly("1:0x41");
            msi.write(MASKS, 4, 1);
            hardware.send(0);
            eventually("the message is pending", () -> msi.read(PENDING, 4) == 1);
            enable(false);
            assertThat(msi.read(PENDING, 4)).isEqualTo(1);
            assertThat(requested()).isEmpty();
            enable(true);
            msi.write(MASKS, 4, 0);
            assertThat(taken(1)).containsExactly("1:0x41");
            enable(false);
        }
    }
}
