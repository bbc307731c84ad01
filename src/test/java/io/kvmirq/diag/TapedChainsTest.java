/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.PciAddress;
import io.kvmirq.VcpuId;
import io.kvmirq.cli.Cli;
import io.kvmirq.cli.host.FakeDevices;
import io.kvmirq.forward.Forwarding;
import io.kvmirq.forward.KvmVfio;
import io.kvmirq.host.facts.GuestHosts;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.kvm.Vm;
import io.kvmirq.recording.Recorder;
import io.kvmirq.recording.Recordings;
import io.kvmirq.recording.tapes.TapeException;
import io.kvmirq.testing.Machine;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.undo.Undo;
import io.kvmirq.vfio.ArmedLine;
import io.kvmirq.vfio.ArmedVectors;
import io.kvmirq.vfio.VfioDevice;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Random;
import java.util.function.Consumer;
import java.util.function.Predicate;
import java.util.zip.GZIPInputStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Tapes of programs on a fake kernel, each with one mistake. */
class TapedChainsTest {
    private static final String NIC = "0000:3b:00.0";
    private static final int ROUNDS = 300;

    @TempDir
    private Path temporary;

    /** A VMM with two vCPUs that wires vectors itself. */
    static final class Vmm {
        final Kernel kernel;
        final Vm vm;
        final VfioDevice device;
        final List<EventFd> events = new ArrayList<>();
        private final Undo parts = new Undo();

        Vmm(Kernel kernel, boolean kvmVfio) {
            this.kernel = kernel;
            vm = parts.add(Vm.create(kernel));
            vm.createIrqchip();
            parts.add(vm.createVcpu(new VcpuId(0)));
            parts.add(vm.createVcpu(new VcpuId(1)));
            PciAddress address = PciAddress.parse(NIC);
            device = parts.add(
                    kvmVfio
                            ? VfioDevice.open(kernel, address, parts.add(KvmVfio.create(vm)))
                            : VfioDevice.open(kernel, address));
            events.add(EventFd.create(kernel));
            events.add(EventFd.create(kernel));
        }

        ArmedVectors arm() {
            return device.msix(0, 2).arm(events);
        }

        Gsi route(int vcpu, int vector) {
            return vm.routes().add(MsiMessage.to(new VcpuId(vcpu), new InterruptVector(vector)));
        }

        Irqfd wire(int vector, Gsi gsi) {
            return vm.assignIrqfd(events.get(vector), gsi);
        }

        /** Vector 0 to vCPU 0, and vector 1 to vCPU 1. */
        List<Irqfd> wireAll() {
            return List.of(wire(0, route(0, 0x30)), wire(1, route(1, 0x31)));
        }
    }

    private Path tape(Consumer<Vmm> program) {
        return tape(true, true, program);
    }

    /** @param closes whether the program closes all when it ends, or is killed */
    private Path tape(boolean kvmVfio, boolean closes, Consumer<Vmm> program) {
        Path tape = temporary.resolve("tape");
        try (Recorder recorder = Recorder.of(FakeDevices.kernel("7.1").backend(), Files.newOutputStream(tape))) {
            Kernel kernel = Kernel.over(recorder.backend());
            Vmm vmm = new Vmm(kernel, kvmVfio);
            program.accept(vmm);
            if (closes) {
                vmm.parts.close();
                kernel.close();
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        return tape;
    }

    private Path killed(Consumer<Vmm> program) {
        return tape(true, false, program);
    }

    private static HostFacts host(String name) throws IOException {
        return new HostFacts(GuestHosts.of(name).tree());
    }

    private static List<Chain> chains(Path tape, String host) throws IOException {
        return TapedChains.of(tape, host(host), Optional.empty()).chains(Optional.empty(), OptionalInt.empty());
    }

    private static Chain first(Path tape) throws IOException {
        return chains(tape, "intel-posted").get(0);
    }

    private static void assertBroken(Chain chain, Hop hop, String text) {
        assertThat(chain.firstBroken()).as("%s", chain).isPresent();
        Link broken = chain.firstBroken().orElseThrow();
        assertThat(broken.hop()).isEqualTo(hop);
        assertThat(broken.text()).isEqualTo(text);
        assertThat(broken.evidence().orElseThrow().kind()).isEqualTo(Evidence.Kind.TAPED);
    }

    private static String value(Chain chain, Hop hop) {
        return chain.link(hop).flatMap(Link::value).orElse("none");
    }

    @Test
    void eachLinkIsTaped() throws IOException {
        List<Chain> chains = chains(
                tape(vmm -> {
                    vmm.arm();
                    vmm.wireAll();
                }),
                "intel-posted");
        assertThat(chains).hasSize(2);
        Chain second = chains.get(1);
        assertThat(second.interrupt()).isEqualTo("MSI-X 1");
        assertThat(second.device()).isEqualTo(NIC);
        assertThat(second.fails()).isEmpty();
        assertThat(value(second, Hop.EVENTFD)).isEqualTo("eventfd#2");
        assertThat(value(second, Hop.IRQFD)).isEqualTo("vm#1");
        assertThat(value(second, Hop.GSI)).isEqualTo("gsi 25");
        assertThat(value(second, Hop.GUEST_VECTOR)).isEqualTo("0x31");
        assertThat(value(second, Hop.VCPU)).isEqualTo("vcpu 1");
        assertThat(value(chains.get(0), Hop.EVENTFD)).isEqualTo("eventfd#1");
        assertThat(second.claim(Claim.Question.ELIGIBLE).orElseThrow().text())
                .isEqualTo("host and VM may post to vcpu 1");
        assertThat(second.remarks()).noneMatch(remark -> remark.contains("KVM-VFIO"));
    }

    @Test
    void forwardedDeviceIsWhole() throws IOException {
        Path tape = killed(vmm -> Forwarding.of(vmm.vm, vmm.device)
                .forward(vmm.device.msix().get(3), MsiMessage.to(new VcpuId(1), new InterruptVector(0x44))));
        Chain chain = TapedChains.of(tape, host("intel-posted"), Optional.empty())
                .chains(Optional.of(NIC), OptionalInt.of(3))
                .get(0);
        assertThat(chain.firstBroken()).isEmpty();
        assertThat(value(chain, Hop.GUEST_VECTOR)).isEqualTo("0x44");
        assertThat(value(chain, Hop.VCPU)).isEqualTo("vcpu 1");
    }

    @Test
    void routeThatWasRemovedIsTheFirstBrokenLink() throws IOException {
        Chain chain = first(killed(vmm -> {
            vmm.arm();
            vmm.vm.routes().removeLosingInterrupts(vmm.wireAll().get(0).gsi());
        }));
        assertBroken(chain, Hop.GSI, "gsi 24 has an irqfd, and its route was removed: each signal is lost");
        assertThat(chain.posted()).contains(false);
    }

    /** The library refuses an irqfd without route; a program of its own kind does not. */
    private static String irqfd(String eventfd, int gsi) {
        return ioctl("vm#1", Uapi.KVM_IRQFD, "00000000" + hex(gsi) + "00".repeat(24), "{\"0\":\"" + eventfd + "\"}");
    }

    private static String hex(int number) {
        return String.format("%08x", Integer.reverseBytes(number));
    }

    private static String ioctl(String on, long request, String in, String names) {
        return "\"call\":\"ioctl\",\"on\":\"" + on + "\",\"request\":" + request + ",\"value\":0,\"in\":\"" + in
                + "\",\"names\":" + names + ",\"result\":0}";
    }

    /** Adds calls to a tape before the first line that is meant, else at its end. */
    private static Path with(Path tape, Predicate<String> before, String... calls) throws IOException {
        List<String> lines = new ArrayList<>();
        boolean added = false;
        for (String line : Files.readAllLines(tape)) {
            if (!added && lines.size() > 0 && (before.test(line) || line.contains("\"end\":"))) {
                added = true;
                for (String call : calls) {
                    lines.add("{\"seq\":0,\"pid\":1,\"tid\":1," + call);
                }
            }
            lines.add(line);
        }
        assertThat(added).isTrue();
        for (int i = 1; i < lines.size(); i++) {
            lines.set(i, lines.get(i).replaceFirst("\"seq\":\\d+", "\"seq\":" + i));
        }
        return Files.write(tape, lines);
    }

    @Test
    void irqfdOfAGsiThatNeverHadARouteIsTheFirstBrokenLink() throws IOException {
        Path tape = with(killed(Vmm::arm), line -> false, irqfd("eventfd#1", 99));
        assertBroken(first(tape), Hop.GSI, "gsi 99 has an irqfd and never had a route: each signal is lost");
    }

    /** The example of README. */
    @Test
    void removedRouteIsTheExampleOfThePages() throws IOException {
        Path example = Machine.root().resolve("src/docs/lost.tape");
        Path tape = killed(vmm -> {
            vmm.arm();
            vmm.vm.routes().removeLosingInterrupts(vmm.wireAll().get(1).gsi());
        });
        Predicate<String> isCall = line -> !line.contains("\"header\"");
        assertThat(Files.readAllLines(example).stream().filter(isCall).map(TapedChainsTest::withoutProcess))
                .containsExactlyElementsOf(Files.readAllLines(tape).stream()
                        .filter(isCall)
                        .map(TapedChainsTest::withoutProcess)
                        .toList());
    }

    private static String withoutProcess(String line) {
        return line.replaceAll("\"(pid|tid)\":\\d+,", "");
    }

    @Test
    void irqfdBeforeItsRouteIsRemarked() throws IOException {
        Path tape = killed(vmm -> {
            vmm.arm();
            vmm.route(0, 0x30);
        });
        with(tape, line -> line.contains("KVM_SET_GSI_ROUTING"), irqfd("eventfd#1", 24));
        Chain chain = first(tape);
        assertThat(chain.firstBroken()).isEmpty();
        assertThat(chain.remarks())
                .anyMatch(remark -> remark.matches("the irqfd was assigned at call \\d+ and gsi 24 was routed only at"
                        + " call \\d+: what the device signalled between is lost; set the route first"));
    }

    @Test
    void vectorWithoutEventfdIsTheFirstBrokenLink() throws IOException {
        Path tape = killed(vmm -> {
            ArmedVectors armed = vmm.arm();
            vmm.wireAll();
            armed.unwire(0);
        });
        assertBroken(
                first(tape),
                Hop.DEVICE_VECTOR,
                "MSI-X 0 has no eventfd: the VMM took it away, as for a vector that the guest masks");
        assertThat(chains(tape, "intel-posted").get(1).fails()).isEmpty();
    }

    /** The first call, which armed both, is taken from the tape. */
    @Test
    void vectorThatNeverHadAnEventfdIsNotUsed() throws IOException {
        Path tape = killed(vmm -> {
            ArmedVectors armed = vmm.arm();
            armed.unwire(0);
            armed.set(1, vmm.events.get(1));
            vmm.wireAll();
        });
        List<String> lines = Files.readAllLines(tape);
        int armed = lines.indexOf(lines.stream()
                .filter(line -> line.contains("SET_IRQS"))
                .findFirst()
                .orElseThrow());
        lines.remove(armed);
        for (int i = armed; i < lines.size(); i++) {
            lines.set(i, lines.get(i).replaceFirst("\"seq\":\\d+", "\"seq\":" + i));
        }
        List<Chain> chains = chains(Files.write(tape, lines), "intel-posted");
        assertThat(chains).extracting(Chain::interrupt).containsExactly("MSI-X 0", "MSI-X 1");
        assertThat(chains).extracting(Chain::isIdle).containsExactly(true, false);
        assertThat(chains)
                .flatExtracting(chain -> chain.firstBroken().stream().toList())
                .isEmpty();
    }

    @Test
    void maskedLineIsTheFirstBrokenLink() throws IOException {
        Chain chain = first(killed(vmm -> {
            ArmedLine line = vmm.device.intx().arm(vmm.events.get(0));
            vmm.wire(0, new Gsi(11));
            line.mask();
        }));
        assertBroken(chain, Hop.DEVICE_VECTOR, "INTx is masked through VFIO");
    }

    @Test
    void lineGoesToThePinOfTheChip() throws IOException {
        Chain chain = first(killed(vmm -> {
            vmm.device.intx().arm(vmm.events.get(0));
            vmm.wire(0, new Gsi(11));
        }));
        assertThat(chain.firstBroken()).isEmpty();
        assertThat(chain.link(Hop.GSI).orElseThrow().text()).isEqualTo("routed to pin 11 of IOAPIC");
        assertThat(chain.fails()).as("a line is not posted on any host").isEmpty();
        assertThat(chain.isNeverPosted()).isTrue();
    }

    @Test
    void eventfdWithoutIrqfdIsTheFirstBrokenLink() throws IOException {
        Chain chain = first(killed(vmm -> {
            vmm.arm().trigger(0);
            vmm.events.get(0).drain();
        }));
        assertThat(chain.firstBroken().orElseThrow().hop()).isEqualTo(Hop.IRQFD);
        assertThat(chain.firstBroken().orElseThrow().text())
                .matches("no irqfd listens to eventfd#1: the VMM reads eventfd#1 itself \\(call \\d+\\) and may inject"
                        + " the interrupt");
    }

    @Test
    void irqfdThatWasDeassignedIsTheFirstBrokenLink() throws IOException {
        Chain chain = first(killed(vmm -> {
            vmm.arm();
            vmm.wireAll().get(0).mask();
        }));
        assertBroken(chain, Hop.IRQFD, "the irqfd of eventfd#1 to gsi 24 is gone: the VMM deassigned it");
    }

    @Test
    void eventfdThatTheProcessClosedHasNoIrqfd() throws IOException {
        Path tape = killed(vmm -> {
            vmm.arm();
            vmm.wireAll();
        });
        with(tape, line -> false, "\"call\":\"close\",\"on\":\"eventfd#1\",\"result\":0}");
        assertBroken(
                first(tape),
                Hop.IRQFD,
                "the irqfd of eventfd#1 to gsi 24 is gone: KVM drops it at the close of the eventfd");
    }

    @Test
    void messageToNoVcpuIsTheFirstBrokenLink() throws IOException {
        Chain chain = first(killed(vmm -> {
            vmm.arm();
            vmm.wire(0, vmm.route(7, 0x30));
        }));
        assertBroken(chain, Hop.VCPU, "physical destination 0x7 means none of the VM's 2 vCPUs");
    }

    @Test
    void vectorThatWasNeverArmedIsTheFirstBrokenLink() throws IOException {
        assertBroken(first(killed(vmm -> {})), Hop.DEVICE_VECTOR, "the VMM never armed MSI-X 0 with an eventfd");
    }

    @Test
    void deviceThatKvmDoesNotKnowIsRemarked() throws IOException {
        Chain chain = first(tape(false, false, vmm -> {
            vmm.arm();
            vmm.wireAll();
        }));
        assertThat(chain.firstBroken()).isEmpty();
        assertThat(chain.remarks())
                .anyMatch(remark -> remark.startsWith("the device's file is not in a KVM-VFIO device"));
    }

    /** QEMU's, until KVM_REINJECT_CONTROL says otherwise. */
    @Test
    void pitThatReinjectsInhibitsAvic() throws IOException {
        String pit = ioctl("vm#1", Uapi.KVM_CREATE_PIT2, "00".repeat(64), "{}");
        Path tape = with(
                killed(vmm -> {
                    vmm.arm();
                    vmm.wireAll();
                }),
                line -> false,
                pit);
        Chain chain = chains(tape, "amd-avic").get(0);
        assertThat(chain.fails()).contains(Hop.POSTING);
        assertThat(chain.whyNot().orElseThrow()).contains("the PIT reinjects lost ticks");
        assertThat(first(tape).fails()).isEmpty();
        with(tape, line -> false, ioctl("vm#1", Uapi.KVM_REINJECT_CONTROL, "00".repeat(32), "{}"));
        assertThat(chains(tape, "amd-avic").get(0).fails()).isEmpty();
    }

    /** irqbypass takes the first producer of an eventfd and refuses the second. */
    @Test
    void secondVectorOfAnEventfdIsNotEligible() throws IOException {
        Path tape = killed(vmm -> {
            vmm.arm();
            vmm.wire(0, vmm.route(0, 0x30));
        });
        Files.writeString(tape, Files.readString(tape).replace("\"24\":\"eventfd#2\"", "\"24\":\"eventfd#1\""));
        List<Chain> chains = chains(tape, "intel-posted");
        assertThat(chains.get(0).fails()).isEmpty();
        assertThat(chains.get(1).whyNot()).contains("the eventfd has another producer or consumer");
    }

    @Test
    void eventfdInTwoVmsIsNotEligible() throws IOException {
        Path tape = killed(vmm -> {
            vmm.arm();
            vmm.wireAll();
        });
        with(tape, line -> false, irqfd("eventfd#1", 24).replace("vm#1", "vm#2"));
        assertThat(first(tape).whyNot()).contains("the eventfd has another producer or consumer");
        with(tape, line -> false, deassign("eventfd#1", 24).replace("vm#1", "vm#2"));
        assertThat(first(tape).fails()).isEmpty();
    }

    private static String deassign(String eventfd, int gsi) {
        return irqfd(eventfd, gsi).replace(hex(gsi) + "00000000", hex(gsi) + hex(Uapi.KVM_IRQFD_FLAG_DEASSIGN));
    }

    /** VFIO unregisters the producers of a device that is closed. */
    @Test
    void vectorOfAClosedDeviceDoesNotTakeTheEventfd() throws IOException {
        Path tape = killed(vmm -> {
            vmm.arm();
            vmm.wireAll();
        });
        String text = Files.readString(tape);
        List<String> again = text.lines()
                .filter(line ->
                        line.contains("\"made\":\"vfio-device#1\"") || line.contains("\"on\":\"vfio-device#1\""))
                .map(line -> line.substring(line.indexOf("\"call\":")).replace("vfio-device#1", "vfio-device#2"))
                .toList();
        List<String> calls = new ArrayList<>(List.of("\"call\":\"close\",\"on\":\"vfio-device#1\",\"result\":0}"));
        calls.addAll(again);
        with(tape, line -> false, calls.toArray(String[]::new));
        assertThat(first(tape).fails()).isEmpty();
        assertThat(first(tape).whyNot()).isEmpty();
    }

    @Test
    void gsiThatNoTableHasIsTheFirstBrokenLink() throws IOException {
        Path tape = with(killed(Vmm::arm), line -> false, irqfd("eventfd#1", 5000));
        assertBroken(
                first(tape),
                Hop.IRQFD,
                "eventfd#1 was assigned to gsi 5000, which no routing table has: each signal is lost");
        with(tape, line -> false, deassign("eventfd#1", 5000));
        assertBroken(first(tape), Hop.IRQFD, "no irqfd listens to eventfd#1");
        with(tape, line -> false, irqfd("eventfd#1", 5000), "\"call\":\"close\",\"on\":\"eventfd#1\",\"result\":0}");
        assertBroken(first(tape), Hop.IRQFD, "no irqfd listens to eventfd#1");
    }

    /** Before Linux 6.17 the entry depends on whether the vCPU had entered its guest, which the tape does not show. */
    @Test
    void entryThatWasWrittenWhileThePitInhibitedIsNotGuessed() throws IOException {
        String pit = ioctl("vm#1", Uapi.KVM_CREATE_PIT2, "00".repeat(64), "{}");
        Path tape = killed(vmm -> {
            vmm.arm();
            vmm.wireAll();
        });
        with(tape, line -> line.contains("SET_IRQS"), pit);
        with(tape, line -> false, ioctl("vm#1", Uapi.KVM_REINJECT_CONTROL, "00".repeat(32), "{}"));
        assertThat(chains(tape, "amd-avic").get(0).whyNot()).isEmpty();
    }

    @Test
    void hostThatCannotPostIsNamed() throws IOException {
        Path tape = tape(vmm -> {
            vmm.arm();
            vmm.wireAll();
        });
        assertThat(chains(tape, "intel-nopost").get(0).whyNot())
                .contains("the kernel's command line switches posting off");
    }

    /** The thread of a vCPU may outlive the device, as that of kvmirq forward does. */
    @Test
    void vcpuThatRunsOnDoesNotHideTheTearDown() throws IOException {
        Path tape = tape(vmm -> {
            vmm.arm();
            vmm.wireAll();
        });
        String run = ioctl("vcpu#1", Uapi.KVM_RUN, "", "{}").replace("\"in\":\"\",", "");
        Chain chain = first(with(tape, line -> false, run));
        assertThat(chain.firstBroken()).isEmpty();
        assertThat(value(chain, Hop.GSI)).isEqualTo("gsi 24");
    }

    @Test
    void callOfTheTapeIsChosen() throws IOException {
        Path tape = tape(vmm -> {
            vmm.arm();
            vmm.wireAll().get(0).mask();
        });
        long calls = Recordings.lines(tape).size() - 1;
        HostFacts host = host("intel-posted");
        Chain last = TapedChains.of(tape, host, Optional.of(calls))
                .chains(Optional.empty(), OptionalInt.of(0))
                .get(0);
        assertThat(last.firstBroken().orElseThrow().text()).isEqualTo("the VMM closed the device");
        Chain early = TapedChains.of(tape, host, Optional.of(1L)).chains(Optional.empty(), OptionalInt.empty()).stream()
                .findFirst()
                .orElse(null);
        assertThat(early).isNull();
    }

    @Test
    void fileThatIsNoTapeIsRefused() throws IOException {
        Path file = Files.writeString(temporary.resolve("none"), "{\"seq\":1}\n");
        assertThatExceptionOfType(TapeException.class)
                .isThrownBy(() -> TapedChains.of(file, host("intel-posted"), Optional.empty()));
        assertThat(Cli.run("explain", "--fake", "7.1", "--tape", file.toString())
                        .exited(3)
                        .err())
                .startsWith("kvmirq: " + file + ": tape line 1: not a tape");
    }

    /** Characters of a tape are replaced: it is refused, or has chains that can be drawn. */
    @Test
    void damagedTapeIsRefusedOrExplained() throws IOException {
        String text = Files.readString(Machine.root().resolve("src/docs/lost.tape"));
        HostFacts host = host("amd-avic");
        Random random = new Random(1);
        Path tape = temporary.resolve("damaged");
        int explained = 0;
        for (int i = 0; i < ROUNDS; i++) {
            StringBuilder damaged = new StringBuilder(text);
            for (int j = 0; j < 1 + i % 20; j++) {
                int at = random.nextInt(text.length());
                if (Character.digit(text.charAt(at), 16) >= 0) {
                    damaged.setCharAt(at, "0123456789f".charAt(random.nextInt(11)));
                }
            }
            Files.writeString(tape, damaged);
            try {
                for (Chain chain :
                        TapedChains.of(tape, host, Optional.empty()).chains(Optional.empty(), OptionalInt.empty())) {
                    assertThat(ChainSvg.of(chain)).endsWith("</svg>\n");
                    explained++;
                }
            } catch (TapeException e) {
                assertThat(e).hasMessageStartingWith("tape line ");
            }
        }
        assertThat(explained).isPositive();
    }

    /** Of QEMU and kvmtool without devices: the tape is read to its end. */
    @Test
    void tapesOfOtherVmmsAreRead() throws IOException {
        Path tapes = Machine.root().resolve("../shared/tapes");
        assumeTrue(Files.isDirectory(tapes));
        try (InputStream in = new GZIPInputStream(Files.newInputStream(tapes.resolve("qemu-q35.tape.gz")))) {
            Path tape = Files.write(temporary.resolve("qemu"), in.readAllBytes());
            TapedChains chains = TapedChains.of(tape, host("intel-posted"), Optional.empty());
            assertThat(chains.devices()).isEmpty();
            assertThat(Cli.run("explain", "--fake", "7.1", "--tape", tape.toString())
                            .exited(3)
                            .err())
                    .isEqualTo("kvmirq: " + tape + " has no device of VFIO: the VMM opened none\n");
        }
    }
}
