/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.snapshot;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.Gsi;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.X86Msr;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.Profile;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Cpuid;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.kvm.MsrRefusedException;
import io.kvmirq.kvm.Vm;
import io.kvmirq.kvm.X86Msrs;
import io.kvmirq.kvm.X86Registers;
import io.kvmirq.testing.CpuTime;
import io.kvmirq.testing.Warnings;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Documents that are wrong, VMs that they do not fit, and what a refused restore leaves. */
class SnapshotTest {
    private static String text() {
        try (SnapshotVm vm = new SnapshotVm()) {
            vm.vcpus.get(0).x86().enableLapic();
            vm.event.signal();
            return vm.saved().text();
        }
    }

    // The document

    @Test
    void documentIsReadAsItWasWritten() {
        String text = text();
        assertThat(text)
                .startsWith("{\"schema\":\"kvmirq.snapshot/1\",\"sha256\":\"")
                .contains("\"architecture\":\"x86_64\"", "\"name\":\"nic\",\"ids\":\"8086:10d3\"")
                .endsWith("}\n");
        VmSnapshot read = VmSnapshot.parse(text);
        assertThat(read.text()).isEqualTo(text);
        assertThat(read).hasToString("snapshot of 1 vCPUs, 0 irqfds and 1 devices");
        assertThat(read.vcpus()).containsExactly(new VcpuId(0));
        assertThat(read.events()).containsExactly("rx");
    }

    @Test
    void messageOfARouteHas32BitsOfData() {
        try (SnapshotVm from = new SnapshotVm();
                SnapshotVm to = new SnapshotVm()) {
            Gsi gsi = from.vm.routes().add(new MsiMessage(0xfee00000L, 0x80000041));
            VmSnapshot.parse(from.saved().text()).restore(to.parts());
            assertThat(to.vm.routes().of(gsi)).isEqualTo(from.vm.routes().of(gsi));
        }
    }

    @Test
    void editedDocumentIsRefused() {
        String text = text();
        assertThatThrownBy(() -> VmSnapshot.parse(text.replace("\"tscKilohertz\":2", "\"tscKilohertz\":3")))
                .isInstanceOf(SnapshotException.class)
                .hasMessageStartingWith("the snapshot was changed after it was written");
    }

    @Test
    void otherVersionIsRefused() {
        assertThatThrownBy(() -> VmSnapshot.parse(text().replace("snapshot/1", "snapshot/2")))
                .hasMessage("this is 'kvmirq.snapshot/2', but this version of kvmirq reads kvmirq.snapshot/1");
        assertThatThrownBy(() -> VmSnapshot.parse(text().replace("kvmirq.snapshot/1", "kvmirq.vfio/1")))
                .hasMessage("'kvmirq.vfio/1' is not a snapshot: expected kvmirq.snapshot/1");
    }

    @Test
    void membersAndTextThatNoSnapshotHasAreNamed() {
        String more = text().replaceFirst("\\{", "{\"more\":1,");
        assertThatThrownBy(() -> VmSnapshot.parse(more)).hasMessageContaining("more");
        assertThatThrownBy(() -> VmSnapshot.parse(text() + "{}")).hasMessageContaining("something follows");
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "",
                "[]",
                "{",
                "{}",
                "7",
                "{\"schema\":5}",
                "{\"schema\":\"kvmirq.snapshot/1\"}",
                "{\"a\":1,\"a\":2}",
                "{\"schema\":null}",
                "{\"schema\":1.5}",
                "{\"schema\":99999999999999999999}",
                "[[[[[[[[[[[[1]]]]]]]]]]]]"
            })
    void whatIsNoSnapshotIsRefused(String text) {
        assertThatThrownBy(() -> VmSnapshot.parse(text)).isInstanceOf(SnapshotException.class);
    }

    @SuppressWarnings("unchecked")
    private static Map<String, Object> map(Object tree) {
        return (Map<String, Object>) tree;
    }

    @SuppressWarnings("unchecked")
    private static List<Object> list(Object tree) {
        return (List<Object>) tree;
    }

    private static VcpuData at9(Map<String, Object> vcpu, long deadline) {
        Map<String, Object> changed = new HashMap<>(vcpu);
        changed.put(
                "msrs",
                List.of(
                        List.of(Node.word(X86Msr.TSC.number()), Node.word(9)),
                        List.of(Node.word(X86Msr.TSC_DEADLINE.number()), Node.word(deadline))));
        return VcpuData.parse(new Node("", changed));
    }

    @Test
    void deadlineThatPassedMayBeGoneAndNoOther() {
        Map<String, Object> vcpu = map(
                list(map(map(Document.parse(text())).get("state")).get("vcpus")).get(0));
        assertThat(at9(vcpu, 0).difference(at9(vcpu, 9))).isEmpty();
        assertThat(at9(vcpu, 0).difference(at9(vcpu, 10))).isPresent();
        assertThat(at9(vcpu, 7).difference(at9(vcpu, 5))).isPresent();
    }

    /** With a checksum that is right. */
    private static VmSnapshot changed(String text, Consumer<Map<String, Object>> change) {
        Map<String, Object> state = map(map(Document.parse(text)).get("state"));
        change.accept(state);
        return VmSnapshot.parse(Document.write(state));
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '`',
            value = {
                "architecture | 'riscv64'         | expected x86_64 or arm64",
                "architecture | 'arm64'           | state.vcpus[0].registers of the snapshot is invalid: expected an"
                        + " array",
                "clock        | 'x'               | state.clock of the snapshot is invalid: expected an integer",
                "has32BitApicIds | 1              | state.has32BitApicIds of the snapshot is invalid: expected true or"
                        + " false",
                "hasBroadcastQuirk | 1            | state.hasBroadcastQuirk of the snapshot is invalid: expected true"
                        + " or false",
                "lines        | [4096]            | state.lines[0] of the snapshot is invalid: expected an integer, 0"
                        + " to 4095",
                "lines        | 5                 | state.lines of the snapshot is invalid: expected an array",
                "routes       | [{'gsi':1,'chip':'IOAPIC','pin':24}] | state.routes[0] of the snapshot is invalid: pin"
                        + " 24",
                "routes       | [{'gsi':1,'chip':'VGIC','pin':2}]    | expected a chip of x86",
                "routes       | [{'gsi':1,'chip':'X','pin':2}]       | state.routes[0].chip of the snapshot is invalid",
                "routes       | [{'gsi':1,'address':'7','data':'0x1'}] | routes[0].address of the snapshot is invalid:"
                        + " expected hex",
                "routes       | [{'gsi':1,'address':'0xfffffffffffffffff','data':'0x1'}] | expected hex of 64 bits",
                "routes       | [{'gsi':1,'address':'0x7','data':'0x100000000'}] | expected hex of 32 bits",
                "routes       | [{'gsi':1,'address':'0x7','data':'0x1'},{'gsi':1,'chip':'IOAPIC','pin':2}] | one message of gsi 1",
                "events       | [{'name':'a','count':'0x0'},{'name':'a','count':'0x0'}] | expected a name that no earlier",
                "irqfds       | [{'event':'none','gsi':1,'masked':true}] | expected the name of an eventfd",
                "irqfds       | [{'event':'rx','gsi':1,'masked':true},{'event':'rx','gsi':2,'masked':true}] | no other irqfd has",
                "devices      | [{'name':'a','ids':'','state':'0g'}] | state.devices[0].state of the snapshot is invalid",
                "devices      | [{'name':'a','ids':'','state':''},{'name':'a','ids':'','state':''}] | expected a name that no earlier",
                "pit          | '00'              | 1 bytes for X86Pit: expected 112",
                "hasLapics    | false             | expected a LAPIC of each vCPU if hasLapics is true",
                "vcpus        | [{'id':4096}]     | state.vcpus[0].id of the snapshot is invalid: expected an integer,"
                        + " 0 to 4095",
                "vcpus        | [{'id':1}]        | state.vcpus[0].state of the snapshot is missing; pass the text",
            })
    void wrongValueIsNamed(String field, String json, String sentence) {
        Object value = Document.parse(json.replace('\'', '"'));
        assertThatThrownBy(() -> changed(text(), state -> state.put(field, value)))
                .isInstanceOf(SnapshotException.class)
                .hasMessageContaining(sentence);
    }

    @Test
    void tableHas4096RoutesAtMost() {
        List<Object> routes = new ArrayList<>();
        for (long gsi = 0; gsi < 4096; gsi++) {
            routes.add(Map.of("gsi", gsi, "chip", "IOAPIC", "pin", 2L));
        }
        VmSnapshot full = changed(text(), state -> state.put("routes", routes));
        assertThat(full.text()).contains("\"gsi\":4095");
        routes.add(Map.of("gsi", 0L, "chip", "PIC_MASTER", "pin", 2L));
        assertThatThrownBy(() -> changed(text(), state -> state.put("routes", routes)))
                .hasMessageContaining("expected at most 4096 routes");
    }

    @Test
    void anyChangeIsReadOrRefused() {
        String text = text();
        String good = text.substring(text.indexOf("\"state\":") + "\"state\":".length(), text.length() - 2);
        assertThat(SnapshotFuzzTest.isReadAsState(good)).isTrue();
        Random random = new Random(5);
        int refused = 0;
        for (int round = 0; round < 300; round++) {
            String changed = SnapshotFuzzTest.mutated(good, random);
            refused += SnapshotFuzzTest.isReadAsState(changed) ? 0 : 1;
        }
        assertThat(refused).isBetween(20, 299);
    }

    // What fits

    private static void assertMisfit(SnapshotVm to, VmSnapshot snapshot, String reason) {
        List<Object> before = new ArrayList<>(to.vm.routes().routes());
        assertThatThrownBy(() -> snapshot.restore(to.parts()))
                .isInstanceOf(SnapshotException.class)
                .hasMessageStartingWith("the snapshot does not fit " + to.vm + ": ")
                .hasMessageContaining(reason);
        assertThat(to.vm.routes().routes()).hasToString(before.toString());
        assertThat(to.event.drain()).isZero();
    }

    @Test
    void otherVcpusOrDevicesAreRefused() {
        VmSnapshot snapshot = VmSnapshot.parse(text());
        try (SnapshotVm two = new SnapshotVm(2, SnapshotVm.VECTORS, 0x10d3);
                SnapshotVm fewer = new SnapshotVm(1, 4, 0x10d3);
                SnapshotVm other = new SnapshotVm(1, SnapshotVm.VECTORS, 0x1234)) {
            assertMisfit(two, snapshot, "it has the vCPUs [0], but this VM has [0, 1]");
            assertMisfit(fewer, snapshot, "its 'nic' has another number of vectors than 4");
            assertMisfit(other, snapshot, "its 'nic' is a device 8086:10d3, but here it is 8086:1234");
        }
    }

    @Test
    void otherVmIsRefused() {
        VmSnapshot snapshot = VmSnapshot.parse(text());
        try (SnapshotVm timer = new SnapshotVm();
                SnapshotVm wide = new SnapshotVm();
                SnapshotVm quirkless = new SnapshotVm();
                SnapshotVm taken = new SnapshotVm();
                EventFd more = EventFd.create(taken.kernel)) {
            timer.vm.x86().createPit();
            assertMisfit(timer, snapshot, "only one of the two has a timer (createPit)");
            wide.vm.x86().use32BitApicIds();
            assertMisfit(wide, snapshot, "only one of the two has 32-bit APIC ids (use32BitApicIds)");
            quirkless.vm.x86().disableBroadcastQuirk();
            assertMisfit(
                    quirkless,
                    snapshot,
                    "only one of the two takes destination 255 as vCPU 255 (disableBroadcastQuirk)");
            try (Irqfd irqfd = taken.vm.assignIrqfd(more, new Gsi(4))) {
                assertMisfit(
                        taken,
                        snapshot,
                        irqfd.gsi() + " of " + taken.vm + " has 1 irqfds, of which 0 are among the parts: close the"
                                + " others before the restore, or name them in both VMs");
            }
            assertThatThrownBy(() -> snapshot.restore(new VmParts(taken.vm)
                            .vcpu(new VcpuId(0), taken.vcpus.get(0))
                            .event("tx", taken.event)))
                    .hasMessageContaining("it has the eventfd 'rx', which is not among [tx]");
            assertThatThrownBy(() -> snapshot.restore(new VmParts(taken.vm)
                            .vcpu(new VcpuId(0), taken.vcpus.get(0))
                            .event("rx", taken.event)))
                    .hasMessageContaining("it has the device 'nic', which is not among []");
        }
    }

    @Test
    void otherIrqchipIsRefused() {
        VmSnapshot snapshot = VmSnapshot.parse(text());
        try (SnapshotVm vm = new SnapshotVm();
                Vm split = Vm.create(vm.kernel)) {
            split.x86().createSplitIrqchip(24);
            try (var vcpu = split.createVcpu(new VcpuId(0))) {
                VmParts parts = new VmParts(split).vcpu(new VcpuId(0), vcpu);
                assertThatThrownBy(() -> snapshot.restore(parts)).hasMessageContaining("its VM has another irqchip");
            }
        }
    }

    @Test
    void hostWithoutAFeatureOrAnMsrIsRefused() {
        VmSnapshot feature =
                changed(text(), state -> map(list(state.get("vcpus")).get(0))
                        .put("cpuid", List.of(List.of(1L, 0L, 0L, 0L, 0L, 1L << 20, 0L))));
        VmSnapshot msr = changed(
                text(),
                state -> list(map(list(state.get("vcpus")).get(0)).get("msrs")).add(List.of("0xda0", "0x0")));
        try (SnapshotVm to = new SnapshotVm()) {
            assertMisfit(
                    to,
                    feature,
                    "vcpu 0 has a feature that this host does not have: CPUID leaf 0x1, index 0, ECX bit 20");
            assertMisfit(to, msr, "vcpu 0 has MSR 0xda0 (XSS), which KVM on this host does not have");
        }
    }

    @Test
    void featuresThatFollowFromTheVmDoNotCount() {
        Cpuid host = Cpuid.of(List.of(new Cpuid.Leaf(1, 0, 0, 0, 0, 1 << 21, 1)));
        Cpuid.Leaf guest = new Cpuid.Leaf(1, 0, 0, 7, 7, 1 << 21 | 1 << 24 | 1 << 27 | 1 << 31, 1 | 1 << 28 | 1 << 9);
        assertThat(CpuFeatures.missing(Cpuid.of(List.of(guest)), host)).isEmpty();
        assertThat(CpuFeatures.missing(host.with(new Cpuid.Leaf(7, 0, 1, 0, 4, 0, 0)), host))
                .contains("a feature that this host does not have: CPUID leaf 0x7, index 0, EBX bit 2");
    }

    @Test
    void armIsRefused() {
        try (Kernel kernel = new FakeKernel(Profile.parse("6.18,arm64")).open();
                Vm vm = Vm.create(kernel)) {
            assertThatThrownBy(() -> VmSnapshot.take(new VmParts(vm)))
                    .isInstanceOf(UnsupportedOperationException.class)
                    .hasMessageStartingWith("on arm64, a snapshot or reset needs a VM with a GICv3");
            assertThatThrownBy(() -> VmSnapshot.parse(text()).restore(new VmParts(vm)))
                    .hasMessageContaining("it is of x86_64, but this VM is of arm64");
        }
    }

    @Test
    void partsHaveNames() {
        try (SnapshotVm vm = new SnapshotVm()) {
            Irqfd irqfd = vm.irqfd(0x31);
            VmParts parts = vm.parts();
            String again = " is named rx already, and would be saved twice: add it once, not as tx";
            assertThatThrownBy(() -> parts.irqfd("tx", irqfd)).hasMessage(vm.event + again);
            assertThatThrownBy(() -> parts.event("tx", vm.event)).hasMessage(vm.event + again);
            assertThatThrownBy(() -> parts.messages("tx", vm.device, vm.msix))
                    .hasMessageContaining(" is named nic already, and would be saved twice");
            try (EventFd other = EventFd.create(vm.kernel)) {
                assertThatThrownBy(() -> parts.event("rx", other)).hasMessageStartingWith("two parts are named rx");
            }
        }
    }

    // What a refusal of the kernel leaves

    @Test
    void valueThatAnMsrDoesNotTakeChangesNoRoute() {
        String text = text();
        VmSnapshot wrong = changed(text, state -> {
            List<Object> msrs = list(map(list(state.get("vcpus")).get(0)).get("msrs"));
            msrs.replaceAll(pair ->
                    list(pair).get(0).equals("0xc0000082") ? List.of("0xc0000082", "0x4000000000000000") : pair);
        });
        try (SnapshotVm to = new SnapshotVm()) {
            String before = to.vm.routes().routes().toString();
            assertThatThrownBy(() -> wrong.restore(to.parts())).isInstanceOf(MsrRefusedException.class);
            assertThat(to.vm.routes().routes()).hasToString(before);
            assertThat(to.event.drain()).isZero();
        }
    }

    @Test
    void differenceAfterARestoreNamesItsField() {
        VmSnapshot wrong = changed(text(), state -> {
            Map<String, Object> vcpu = map(list(state.get("vcpus")).get(0));
            byte[] registers = HexFormat.of().parseHex((String) vcpu.get("registers"));
            X86Registers odd = X86Registers.fromBytes(registers).set(X86Registers.Name.RFLAGS, 0);
            vcpu.put("registers", HexFormat.of().formatHex(odd.bytes()));
        });
        try (SnapshotVm to = new SnapshotVm()) {
            String before = to.vm.routes().routes().toString();
            assertThatThrownBy(() -> wrong.restore(to.parts()))
                    .isInstanceOf(SnapshotException.class)
                    .hasMessage(to.vm + " differs from the snapshot after the restore: vcpu 0: RFLAGS=0x2, not"
                            + " RFLAGS=0x0");
            assertThat(to.vm.routes().routes()).hasToString(before);
            assertThat(to.event.drain()).isZero();
        }
    }

    @Test
    void everyKindOfStateIsCompared() {
        try (SnapshotVm from = new SnapshotVm()) {
            from.vcpus.get(0).x86().enableLapic();
            X86Data saved = X86Data.read(from.parts());
            from.vcpus.get(0).x86().setMsrs(new X86Msrs().set(X86Msr.STAR, 5));
            assertThat(X86Data.read(from.parts()).difference(saved))
                    .contains("vcpu 0: MSR 0xc0000081 (STAR) 0x5, not 0x0");
            from.vm.routes().remove(new Gsi(3));
            assertThat(X86Data.read(from.parts()).difference(saved).orElseThrow())
                    .startsWith("routes ");
        }
        try (SnapshotVm from = new SnapshotVm()) {
            X86Data saved = X86Data.read(from.parts());
            from.vm.x86().setLine(new Gsi(5), true);
            assertThat(X86Data.read(from.parts()).difference(saved).orElseThrow())
                    .startsWith("lines ");
        }
    }

    // MSI-X

    @Test
    void msixGoesOnInAnotherVm() {
        try (SnapshotVm from = new SnapshotVm();
                SnapshotVm to = new SnapshotVm()) {
            from.vcpus.get(0).x86().enableLapic();
            from.msix.writeMessageControl(1 << 15);
            for (int i = 0; i < 3; i++) {
                from.entry(i, 0x50 + i, false);
            }
            from.entry(1, 0x51, true);
            from.hardware.sendMessage(1);
            assertThat(from.msix.readPending(0, 8)).isEqualTo(2);
            VmSnapshot snapshot = from.saved();
            snapshot.restore(to.parts());
            assertThat(to.msix.state()).isEqualTo(withPending(from.msix.state(), 2));
            assertThat(to.msix.isEnabled()).isTrue();
            assertThat(to.isRequested(0x51)).isFalse();
            to.hardware.sendMessage(2);
            assertThat(to.isRequested(0x52)).isTrue();
            to.entry(1, 0x51, false);
            assertThat(to.isRequested(0x51)).isTrue();
            assertThat(to.isRequested(0x50)).isFalse();
            assertThat(snapshot.text()).doesNotContain("\"gsi\":24");
        }
    }

    private static byte[] withPending(byte[] state, int pending) {
        state[state.length - 8] = (byte) pending;
        return state;
    }

    @Test
    void msixIsOpenAgainAfterASnapshot() {
        try (SnapshotVm vm = new SnapshotVm()) {
            vm.vcpus.get(0).x86().enableLapic();
            vm.msix.writeMessageControl(1 << 15);
            vm.entry(0, 0x50, false);
            vm.saved();
            vm.hardware.sendMessage(0);
            assertThat(vm.isRequested(0x50)).isTrue();
            assertThatThrownBy(() -> vm.msix.restore(new byte[7])).hasMessageStartingWith("7 bytes are not the state");
        }
    }

    @Test
    void heldDeviceStaysHeldAfterASnapshot() {
        try (SnapshotVm vm = new SnapshotVm()) {
            vm.vcpus.get(0).x86().enableLapic();
            vm.msix.writeMessageControl(1 << 15);
            vm.entry(0, 0x50, false);
            vm.msix.hold();
            vm.saved();
            vm.hardware.sendMessage(0);
            assertThat(vm.msix.isHeld()).isTrue();
            assertThat(vm.isRequested(0x50)).isFalse();
            vm.msix.release();
            assertThat(vm.isRequested(0x50)).isTrue();
        }
    }

    @Test
    void messageOfAHeldVectorArrivesInTheOtherVm() {
        try (SnapshotVm from = new SnapshotVm();
                SnapshotVm to = new SnapshotVm()) {
            from.vcpus.get(0).x86().enableLapic();
            from.msix.writeMessageControl(1 << 15);
            from.entry(0, 0x50, false);
            from.msix.hold();
            from.hardware.sendMessage(0);
            from.saved().restore(to.parts());
            assertThat(to.isRequested(0x50)).isTrue();
            assertThat(to.msix.readPending(0, 8)).isZero();
        }
    }

    // Counts

    @Test
    void countStaysWithAVmThatGoesOn() {
        try (SnapshotVm vm = new SnapshotVm()) {
            vm.event.signal(3);
            vm.saved();
            assertThat(vm.event.drain()).isEqualTo(3);
        }
    }

    @Test
    void countOfASemaphoreMovesWhole() {
        try (SnapshotVm from = new SnapshotVm();
                SnapshotVm to = new SnapshotVm();
                EventFd semaphore = EventFd.createSemaphore(from.kernel);
                EventFd event = EventFd.create(to.kernel)) {
            semaphore.signal(3);
            try (VmMove move = VmMove.from(from.parts().event("tx", semaphore))) {
                move.into(to.parts().event("tx", event));
            }
            assertThat(event.drain()).isEqualTo(3);
            assertThat(semaphore.drain()).isZero();
        }
    }

    /** The VMM has unplugged the device in the new VM. */
    @Test
    void countOfAnEventfdThatIsClosedStays() {
        try (SnapshotVm from = new SnapshotVm();
                SnapshotVm to = new SnapshotVm();
                EventFd old = EventFd.create(from.kernel)) {
            EventFd event = EventFd.create(to.kernel);
            assertThat(Warnings.of(() -> {
                        try (VmMove move = VmMove.from(from.parts().event("tx", old))) {
                            move.into(to.parts().event("tx", event));
                            old.signal(3);
                            event.close();
                        }
                    }))
                    .isEmpty();
            assertThat(old.drain()).isEqualTo(3);
        }
    }

    @Test
    void largeDocumentIsReadQuickly() {
        String text = text();
        CpuTime.within(CpuTime.OF_AN_INPUT, () -> VmSnapshot.parse(text));
    }

    /** Even if the saved irqfd has no route, it would share the GSI with one that the VMM left out. */
    @Test
    void leftOutIrqfdOnTheGsiOfASavedOneIsRefused() {
        try (SnapshotVm from = new SnapshotVm();
                SnapshotVm to = new SnapshotVm();
                EventFd more = EventFd.create(to.kernel)) {
            Irqfd saved = from.irqfd(0x31);
            Gsi gsi = saved.gsi();
            saved.mask();
            from.vm.routes().remove(gsi);
            VmSnapshot snapshot = VmSnapshot.take(from.partsWithIrqfd(saved));
            try (Irqfd named = to.vm.assignIrqfd(to.event, new Gsi(4))) {
                VmParts parts = to.partsWithIrqfd(named).leaveOut(gsi);
                Irqfd another = to.vm.assignIrqfd(more, gsi);
                assertThatThrownBy(() -> snapshot.restore(parts))
                        .isInstanceOf(SnapshotException.class)
                        .hasMessageContaining(gsi + " of it has an irqfd here already: close it before the restore");
                another.close();
                snapshot.restore(parts);
                assertThat(named.gsi()).isEqualTo(gsi);
            }
        }
    }

    /** A vector of the device is on it, too. */
    @Test
    void irqfdOnTheGsiOfAVectorIsMissed() {
        try (SnapshotVm vm = new SnapshotVm()) {
            vm.entry(0, 0x41, false);
            vm.msix.writeMessageControl(1 << 15);
            Gsi gsi = vm.msix.gsis().get(0);
            assertThat(vm.saved().text()).isNotEmpty();
            try (Irqfd another = vm.vm.assignIrqfd(vm.event, gsi)) {
                assertThatThrownBy(vm::saved)
                        .as(another.toString())
                        .hasMessageStartingWith(gsi + " of " + vm.vm + " has 2 irqfds, of which 1 are among the parts");
            }
        }
    }
}
