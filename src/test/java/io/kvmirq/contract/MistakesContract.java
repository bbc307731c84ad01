/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.irqchip.GuestIoapic;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.EventLoop;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Mapping;
import io.kvmirq.kernel.MemoryFile;
import io.kvmirq.kvm.GuestMemory;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.Vm;
import io.kvmirq.snapshot.VmMove;
import io.kvmirq.snapshot.VmParts;
import io.kvmirq.snapshot.VmSnapshot;
import io.kvmirq.testing.Warnings;
import io.kvmirq.undo.Undo;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Mistakes of a VMM's author, and the sentence that each gets: the same from the real kernel and from the fake. */
@Contract
@SuppressWarnings("NullAway") // null is one of the mistakes
class MistakesContract extends KernelSuite {
    private static final VcpuId FIRST = new VcpuId(0);
    private static final VcpuId SECOND = new VcpuId(1);
    private static final Gsi GSI = new Gsi(30);
    private static final long LAPIC = 0xfee0_0000L;
    private static final int PAGE = 0x1000;
    /** Numbers of descriptors differ from run to run. */
    private static final Pattern DESCRIPTOR = Pattern.compile("(fd |epoll=)\\d+");

    private Undo open;
    private Kernel own;
    private Vm vm;
    private Vcpu vcpu;
    private EventFd event;

    /** A VM with a split irqchip, which every kernel of x86 has. */
    @BeforeEach
    void author() {
        world.assumeX86();
        open = new Undo();
        own = open.add(Kernel.over(kernel));
        vm = open.add(Vm.create(own));
        vm.x86().createSplitIrqchip(GuestIoapic.PINS);
        vcpu = open.add(vm.createVcpu(FIRST));
        event = open.add(EventFd.create(own));
    }

    @AfterEach
    void closeAll() {
        if (open != null) {
            open.close();
        }
    }

    /** The sentence, with its kind; the mistake has changed nothing. */
    private String sentence(Runnable mistake) {
        List<String> handles = own.openHandles();
        long commits = vm.routes().commits();
        String said = "accepted in silence";
        try {
            mistake.run();
        } catch (RuntimeException e) {
            said = e.getClass().getSimpleName() + ": "
                    + DESCRIPTOR.matcher(String.valueOf(e.getMessage())).replaceAll("$1N");
        }
        assertThat(own.openHandles()).as("handles after " + said).isEqualTo(handles);
        assertThat(vm.routes().commits())
                .as("changes of the routes after " + said)
                .isEqualTo(commits);
        return said;
    }

    private VmParts parts() {
        return vcpuAlone().event("event", event);
    }

    private VmParts vcpuAlone() {
        return new VmParts(vm).vcpu(FIRST, vcpu);
    }

    @Test
    void eachHasASentence() {
        EventLoop loop = open.add(EventLoop.create(own));
        EventFd registered = open.add(EventFd.create(own));
        open.add(loop.register(registered, count -> {}));
        Map<String, String> table = new LinkedHashMap<>();
        table.put("assignIrqfd(null, gsi)", sentence(() -> vm.assignIrqfd(null, GSI)));
        table.put("assignIrqfd(event, null)", sentence(() -> vm.assignIrqfd(event, null)));
        table.put("assignLevelIrqfd(event, null, gsi)", sentence(() -> vm.assignLevelIrqfd(event, null, GSI)));
        table.put("assignLevelIrqfd(event, event, gsi)", sentence(() -> vm.assignLevelIrqfd(event, event, GSI)));
        table.put("a message with vector 15", sentence(() -> MsiMessage.to(FIRST, new InterruptVector(15))));
        table.put("addMemory of 0 bytes", sentence(() -> vm.addMemory(0, 0)));
        table.put("addMemory of -4096 bytes", sentence(() -> vm.addMemory(0, -PAGE)));
        table.put("addMemory over the LAPICs", sentence(() -> vm.addMemory(LAPIC - PAGE, 2 * PAGE)));
        table.put("startAt(0x10000, 0)", sentence(() -> vcpu.x86().startAt(0x1_0000, 0)));
        table.put("startAt(0, -1)", sentence(() -> vcpu.x86().startAt(0, -1)));
        table.put("register(event, null)", sentence(() -> loop.register(event, null)));
        table.put("register twice", sentence(() -> loop.register(registered, count -> {})));
        GuestIoapic ioapic = new GuestIoapic(vm, GuestIoapic.PINS);
        table.put("setTscKilohertz(-1)", sentence(() -> vcpu.x86().setTscKilohertz(-1)));
        table.put("a memory file with a NUL", sentence(() -> MemoryFile.create(own, "ram\0two", PAGE)));
        table.put("entry(24) of an IOAPIC of 24 pins", sentence(() -> ioapic.entry(GuestIoapic.PINS)));
        table.put("isHigh(-1) of an IOAPIC", sentence(() -> ioapic.isHigh(-1)));
        table.put("parse of nothing", sentence(() -> VmSnapshot.parse("")));
        table.put("parse of null", sentence(() -> VmSnapshot.parse(null)));
        assertThat(table)
                .containsExactlyEntriesOf(expected(
                        "assignIrqfd(null, gsi)",
                        "NullPointerException: event is null: pass the eventfd that raises the interrupt",
                        "assignIrqfd(event, null)",
                        "NullPointerException: gsi is null: pass the GSI to raise",
                        "assignLevelIrqfd(event, null, gsi)",
                        "NullPointerException: resample is null: pass the eventfd that is signalled at the guest's EOI,"
                                + " or use assignIrqfd for an edge",
                        "assignLevelIrqfd(event, event, gsi)",
                        "IllegalArgumentException: eventfd (fd N) cannot be both the interrupt and its resample"
                                + " notification: each EOI would raise the next interrupt forever; use two eventfds",
                        "a message with vector 15",
                        "IllegalArgumentException: vector 0xf is not valid in a message to vcpu 0: a LAPIC reports an"
                                + " error and delivers nothing for 0 to 15; devices use vectors 32 to 255",
                        "addMemory of 0 bytes",
                        "IllegalArgumentException: memory of 0 bytes is invalid: expected a positive multiple of"
                                + " the page size",
                        "addMemory of -4096 bytes",
                        "IllegalArgumentException: memory of -4096 bytes is invalid: expected a positive multiple"
                                + " of the page size",
                        "addMemory over the LAPICs",
                        "IllegalArgumentException: memory of 8192 bytes at 0xfedff000 overlaps the page of the LAPICs"
                                + " of vm (fd N), 0xfee00000: the guest would not reach its interrupt controller; add"
                                + " the memory below and above it separately",
                        "startAt(0x10000, 0)",
                        "IllegalArgumentException: instruction 0x10000 is beyond real mode with its segments at 0:"
                                + " expected 0 to 0xffff; for another mode use setSystemRegisters and setRegisters",
                        "startAt(0, -1)",
                        "IllegalArgumentException: stack 0xffffffff is beyond real mode with its segments at 0:"
                                + " expected 0 to 0xffff; for another mode use setSystemRegisters and setRegisters",
                        "register(event, null)",
                        "NullPointerException: handler is null: pass the code that handles signals of"
                                + " eventfd (fd N)",
                        "register twice",
                        "KernelException: epoll control epoll=N eventfd (fd N): EEXIST (it is registered with this"
                                + " event loop already: close that registration first, or use another eventfd)",
                        "setTscKilohertz(-1)",
                        "IllegalArgumentException: a TSC of -1 kHz is invalid: expected a positive rate, or 0 for"
                                + " that of the host",
                        "a memory file with a NUL",
                        "IllegalArgumentException: the name 'ram?two' of a memory file has a NUL, where the kernel"
                                + " would truncate it: remove it",
                        "entry(24) of an IOAPIC of 24 pins",
                        "IllegalArgumentException: pin 24 is not a pin of this IOAPIC, which has 0 to 23",
                        "isHigh(-1) of an IOAPIC",
                        "IllegalArgumentException: pin -1 is not a pin of this IOAPIC, which has 0 to 23",
                        "parse of nothing",
                        "SnapshotException: not a snapshot: the text is empty; pass the text that VmSnapshot.text"
                                + " returned",
                        "parse of null",
                        "NullPointerException: text is null: pass the text that VmSnapshot.text returned"));
    }

    private static Map<String, String> expected(String... pairs) {
        Map<String, String> table = new LinkedHashMap<>();
        for (int i = 0; i < pairs.length; i += 2) {
            table.put(pairs[i], pairs[i + 1]);
        }
        return table;
    }

    // Snapshots

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void snapshotNeedsEveryVcpu(boolean moving) {
        open.add(vm.createVcpu(SECOND));
        assertThat(sentence(() -> snapshot(moving, parts())))
                .isEqualTo(
                        "IllegalArgumentException: vcpu 1 of vm (fd N) is not among the parts, and a snapshot or reset"
                                + " without it would lose its state: name it with VmParts.vcpu");
    }

    @Test
    void restoreNeedsEveryVcpu() {
        VmSnapshot made = VmSnapshot.take(parts());
        open.add(vm.createVcpu(SECOND));
        assertThat(sentence(() -> made.restore(parts()))).contains("vcpu 1 of vm (fd N) is not among the parts");
    }

    /** The snapshot would hold the state of another VM, or one vCPU as two. */
    @Test
    void partsAreOfTheVm() {
        Vm another = open.add(Vm.create(own));
        another.x86().createSplitIrqchip(GuestIoapic.PINS);
        Vcpu stranger = open.add(another.createVcpu(FIRST));
        Irqfd foreign = open.add(another.assignIrqfd(event, GSI));
        Kernel second = open.add(Kernel.over(kernel));
        EventFd ofSecond = open.add(EventFd.create(second));
        assertThat(sentence(() -> new VmParts(vm).vcpu(FIRST, stranger)))
                .isEqualTo(
                        "IllegalArgumentException: vcpu 0 (fd N) is not a part of vm (fd N): it belongs to another VM,"
                                + " whose state this would be");
        assertThat(sentence(() -> parts().vcpu(SECOND, vcpu)))
                .isEqualTo("IllegalArgumentException: vcpu 0 (fd N) is named vcpu 1: expected its own id, vcpu 0");
        assertThat(sentence(() -> parts().irqfd("line", foreign)))
                .matches("IllegalArgumentException: irqfd .* is not a part of vm \\(fd N\\): it belongs to another VM,"
                        + " .*");
        assertThat(sentence(() -> parts().event("second", ofSecond)))
                .isEqualTo(
                        "IllegalArgumentException: eventfd (fd N) belongs to another Kernel than vm (fd N): open both"
                                + " from the same Kernel");
    }

    private static String snapshot(boolean moving, VmParts parts) {
        if (!moving) {
            return VmSnapshot.take(parts).toString();
        }
        try (VmMove move = VmMove.from(parts)) {
            return VmSnapshot.parse(move.text()).toString();
        }
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void snapshotNeedsEveryIrqfd(boolean moving) {
        vm.routes().replace(GSI, MsiMessage.to(FIRST, new InterruptVector(0x31)));
        EventFd another = open.add(EventFd.create(own));
        Irqfd named = open.add(vm.assignIrqfd(event, GSI));
        Irqfd leftOut = open.add(vm.assignIrqfd(another, GSI));
        assertThat(sentence(() -> snapshot(moving, vcpuAlone().irqfd("event", named))))
                .isEqualTo("IllegalArgumentException: gsi 30 of vm (fd N) has 2 irqfds, of which 1 are among the parts:"
                        + " a restore would lose the interrupts of the others; name each with VmParts.irqfd or vector,"
                        + " or its device with VmParts.device or messages, or use VmParts.leaveOut if the VMM"
                        + " recreates them");
        assertThat(leftOut.isMasked()).isFalse();
        assertThat(snapshot(moving, vcpuAlone().irqfd("event", named).leaveOut(GSI)))
                .isEqualTo("snapshot of 1 vCPUs, 1 irqfds and 0 devices");
    }

    // Values that may be a guest's

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void irqfdOfALowVectorIsWarnedOf(boolean isSplit) {
        Vm raised = open.add(Vm.create(own));
        if (isSplit) {
            raised.x86().createSplitIrqchip(GuestIoapic.PINS);
        } else {
            raised.x86().createIrqchip();
        }
        List<String> said = Warnings.of(() -> {
            raised.routes().replace(GSI, new MsiMessage(World.MSI_ADDRESS, 16));
            raised.assignIrqfd(event, GSI).close();
            raised.routes().replace(GSI, new MsiMessage(World.MSI_ADDRESS, 5));
            raised.assignIrqfd(event, GSI).close();
        });
        assertThat(said).hasSize(1);
        assertThat(said.get(0))
                .matches(
                        "an irqfd of vm \\(fd \\d+\\) is on gsi 30, which raises msi 0xfee00000/0x5, whose vector is below"
                                + " 16: a LAPIC reports an error and delivers nothing; devices use vectors 32 to 255");
    }

    @Test
    void otherDeliveryModesHaveNoVector() {
        assertThat(Warnings.of(() -> {
                    vm.routes().replace(GSI, MsiMessage.nmiTo(FIRST));
                    vm.assignIrqfd(event, GSI).close();
                }))
                .isEmpty();
    }

    @Test
    void memoryBesideTheLapicsIsMemory() {
        vm.addMemory(LAPIC - PAGE, PAGE).close();
        vm.addMemory(LAPIC + PAGE, PAGE).close();
        try (GuestMemory atIoapic = vm.addMemory(GuestIoapic.ADDRESS, PAGE)) {
            assertThat(atIoapic.guestAddress()).isEqualTo(GuestIoapic.ADDRESS); // of the VMM here
        }
    }

    @Test
    void memoryOfACallerIsCheckedToo() {
        Mapping.Owner page = open.add(Mapping.anonymous(own, PAGE));
        assertThat(sentence(() -> vm.addMemory(LAPIC, page.mapping()))).contains("overlaps the page of the LAPICs");
        assertThat(sentence(() -> vm.addReadOnlyMemory(LAPIC, page.mapping())))
                .contains("overlaps the page of the LAPICs");
    }

    @Test
    void irqchipAfterTheMemoryIsCheckedToo() {
        Vm bare = open.add(Vm.create(own));
        GuestMemory memory = bare.addMemory(LAPIC, PAGE);
        assertThat(sentence(() -> bare.x86().createSplitIrqchip(24))).contains("overlaps the page of the LAPICs");
        memory.close();
        bare.x86().createSplitIrqchip(24);
    }

    @Test
    void fullIrqchipHasAnIoapicOfItsOwn() {
        world.assumeFullIrqchip();
        Vm full = open.add(Vm.create(own));
        full.x86().createIrqchip();
        assertThat(sentence(() -> new GuestIoapic(full, 24)))
                .isEqualTo("IllegalArgumentException: vm (fd N) has an in-kernel IOAPIC, which handles its GSIs and"
                        + " accesses: create the VM with createSplitIrqchip, or leave GuestIoapic out");
        assertThat(sentence(() -> full.addMemory(GuestIoapic.ADDRESS, PAGE)))
                .isEqualTo(
                        "IllegalArgumentException: memory of 4096 bytes at 0xfec00000 overlaps the page of the IOAPIC"
                                + " of vm (fd N), 0xfec00000: the guest would not reach its interrupt controller; add"
                                + " the memory below and above it separately");
    }

    @Test
    void kernelHasAName() {
        assertThat(own.toString()).matches(own.isReal() ? "real kernel through .+" : "fake kernel .+");
    }
}
