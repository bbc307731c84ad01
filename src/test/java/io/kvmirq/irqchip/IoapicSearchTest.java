/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.irqchip;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.VcpuId;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.Profile;
import io.kvmirq.forward.Userspace;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.Vm;
import io.kvmirq.kvm.X86Lapic;
import io.kvmirq.testing.Choices;
import io.kvmirq.testing.Search;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.undo.Undo;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeSet;
import org.junit.jupiter.api.Test;

/**
 * Random lines of two devices at an IOAPIC of this process, whose guest writes entries, switches the LAPIC of its second
 * vCPU off and on, and takes interrupts, beside a plain account of what each vCPU is asked for. A level that no LAPIC
 * accepted awaits no EOI, and is sent when a device drives the line again.
 */
class IoapicSearchTest {
    private static final int SEEDS = 300;
    private static final int STEPS = 60;
    private static final int PINS = 8;
    /** The pins from this one on are edge-triggered. */
    private static final int FIRST_EDGE = 4;

    private static final int VECTORS_EACH = 4;
    private static final int FIRST_VECTOR = 0x40;
    private static final int LEVEL = 1 << 15;
    private static final int MASKED = 1 << 16;
    private static final int SELECT = 0;
    private static final int WINDOW = 0x10;
    private static final int ENTRIES = 0x10;
    private static final int LAPIC_ENABLED = 1 << 8;
    private static final int SPIV = 0xf0;
    private static final int IRR_DISTANCE = 16;

    @Test
    void eachLevelAndEdgeIsRequestedOnce() {
        int[] requested = {0};
        Search.run("IOAPIC", 0, SEEDS, random -> {
            try (World world = new World(random)) {
                requested[0] += world.run();
            }
        });
        assertThat(requested[0]).isGreaterThan(SEEDS);
    }

    private static final class World implements AutoCloseable {
        private final Undo made = new Undo();
        private final Choices random;
        private final List<Vcpu> vcpus = new ArrayList<>();
        private final GuestIoapic ioapic;
        private final List<Userspace.Injector> devices;
        private final boolean[][] high = new boolean[2][PINS];
        private final boolean[] masked = new boolean[PINS];
        private final boolean[] awaitsEoi = new boolean[PINS];
        private final int[] vcpu = new int[PINS];
        private final int[] vector = new int[PINS];
        private final TreeSet<String> due = new TreeSet<>();
        private boolean secondIsOn = true;
        private int requested;

        World(Choices random) {
            this.random = random;
            Kernel kernel = made.add(new FakeKernel(Profile.V6_18).open());
            Vm vm = made.add(Vm.create(kernel));
            vm.x86().createSplitIrqchip(GuestIoapic.PINS);
            for (int i = 0; i < 2; i++) {
                Vcpu created = made.add(vm.createVcpu(new VcpuId(i)));
                created.x86().enableLapic();
                vcpus.add(created);
            }
            ioapic = new GuestIoapic(vm, GuestIoapic.PINS);
            devices = List.of(ioapic.source(), ioapic.source());
            for (int pin = 0; pin < PINS; pin++) {
                entry(pin);
            }
        }

        int run() {
            while (random.step(STEPS)) {
                int pin = random.nextInt(PINS);
                switch (random.nextInt(8)) {
                    case 0 -> entry(pin);
                    case 1 -> mask(pin, random.nextBoolean());
                    case 2 -> secondLapic(random.nextBoolean());
                    case 3, 4 -> take();
                    default -> line(random.nextInt(2), pin, random.nextInt(3) > 0);
                }
                check();
            }
            return requested;
        }

        private void line(int device, int pin, boolean isHigh) {
            random.note("device " + device + " drives pin " + pin + (isHigh ? " high" : " low"));
            boolean before = isHigh(pin);
            boolean changes = high[device][pin] != isHigh;
            high[device][pin] = isHigh;
            devices.get(device).line(new Gsi(pin), isHigh);
            if (isLevel(pin)) {
                if (isHigh || changes) {
                    service(pin);
                }
            } else if (!before && isHigh && !masked[pin]) {
                request(pin);
            }
        }

        private boolean isHigh(int pin) {
            return high[0][pin] || high[1][pin];
        }

        private static boolean isLevel(int pin) {
            return pin < FIRST_EDGE;
        }

        /** Masks the pin first, as Linux does. An entry that awaits an EOI stays. */
        private void entry(int pin) {
            if (awaitsEoi[pin]) {
                return;
            }
            write(pin, 0, MASKED);
            vcpu[pin] = random.nextInt(2);
            vector[pin] = FIRST_VECTOR + pin * VECTORS_EACH + random.nextInt(VECTORS_EACH);
            write(pin, 1, vcpu[pin] << 24);
            mask(pin, random.nextInt(4) == 0);
        }

        private void mask(int pin, boolean masks) {
            random.note(
                    (masks ? "mask pin " : "open pin ") + pin + ", vector " + vector[pin] + " of vcpu " + vcpu[pin]);
            masked[pin] = masks;
            write(pin, 0, vector[pin] | (isLevel(pin) ? LEVEL : 0) | (masks ? MASKED : 0));
            service(pin);
        }

        private void write(int pin, int half, int value) {
            ioapic.write(SELECT, 4, ENTRIES + 2 * pin + half);
            ioapic.write(WINDOW, 4, value);
        }

        private void service(int pin) {
            if (isLevel(pin) && isHigh(pin) && !masked[pin] && !awaitsEoi[pin]) {
                awaitsEoi[pin] = request(pin);
            }
        }

        private boolean request(int pin) {
            boolean accepted = vcpu[pin] == 0 || secondIsOn;
            if (accepted) {
                requested++;
                due.add(vcpu[pin] + ":" + vector[pin]);
            }
            return accepted;
        }

        private void secondLapic(boolean on) {
            take();
            if (due.isEmpty()) {
                random.note("the second LAPIC is " + (on ? "on" : "off"));
                X86Lapic lapic = vcpus.get(1).x86().lapic();
                lapic.set(SPIV, on ? lapic.get(SPIV) | LAPIC_ENABLED : lapic.get(SPIV) & ~LAPIC_ENABLED);
                vcpus.get(1).x86().setLapic(lapic);
                secondIsOn = on;
            }
        }

        /** The vCPUs take what is requested, and end it. */
        private void take() {
            random.note("take " + requested());
            due.clear();
            for (Vcpu vcpu : vcpus) {
                X86Lapic lapic = vcpu.x86().lapic();
                for (int word = 0; word < 8; word++) {
                    lapic.set(Uapi.KvmLapicState.IRR + word * IRR_DISTANCE, 0);
                }
                vcpu.x86().setLapic(lapic);
            }
            for (int pin = 0; pin < FIRST_EDGE; pin++) {
                if (awaitsEoi[pin]) {
                    ioapic.endOfInterrupt(new InterruptVector(vector[pin]));
                    awaitsEoi[pin] = false;
                    service(pin);
                }
            }
        }

        private TreeSet<String> requested() {
            TreeSet<String> found = new TreeSet<>();
            for (int pin = 0; pin < PINS; pin++) {
                for (int i = 0; i < VECTORS_EACH; i++) {
                    int number = FIRST_VECTOR + pin * VECTORS_EACH + i;
                    for (int index = 0; index < 2; index++) {
                        if (vcpus.get(index).x86().isRequested(new InterruptVector(number))) {
                            found.add(index + ":" + number);
                        }
                    }
                }
            }
            return found;
        }

        private void check() {
            assertThat(requested()).as("requests").isEqualTo(due);
        }

        @Override
        public void close() {
            made.close();
        }
    }
}
