/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.EventFdId;
import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.PciAddress;
import io.kvmirq.Route;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.LinuxVersion;
import io.kvmirq.arch.apic.Apic;
import io.kvmirq.arch.apic.PostedInterruptDescriptor;
import io.kvmirq.arch.apic.PostingHost;
import io.kvmirq.arch.apic.Vendor;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.backend.choice.Backends;
import io.kvmirq.contract.VcpuPhasesContract.Place;
import io.kvmirq.contract.VcpuPhasesContract.Runner;
import io.kvmirq.contract.VcpuPhasesContract.Watched;
import io.kvmirq.diag.rules.Drift;
import io.kvmirq.diag.sources.KernelPaths;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.memory.KernelPids;
import io.kvmirq.host.memory.KernelStructures;
import io.kvmirq.host.memory.KernelVcpu;
import io.kvmirq.host.trace.TraceInstance;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.GuestMemory;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.Vm;
import io.kvmirq.kvm.X86Lapic;
import io.kvmirq.mirror.Event;
import io.kvmirq.mirror.Mirror;
import io.kvmirq.mirror.MirrorHost;
import io.kvmirq.mirror.PredictedPid;
import io.kvmirq.mirror.Producer;
import io.kvmirq.testing.Numbers;
import io.kvmirq.testing.RealKvm;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.TreeSet;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * The posted-interrupt descriptor of a vCPU in the memory of a kernel with APICv, beside what the mirror predicts: a walk
 * through places of the vCPU and senders, with a seed. With an assignment, the lab's module posts in place of a VT-d unit.
 */
@Tag("contract")
@Tag(RealKvm.TAG)
class DescriptorWalkContract {
    private enum Sender {
        NOBODY,
        SIGNAL_MSI,
        UNIT,
        URGENT_UNIT
    }

    private static final VcpuId VCPU = new VcpuId(0);
    private static final Path ENABLED = Path.of("/sys/module/kvm_intel/parameters/enable_apicv");
    private static final Path UNIT = Path.of("/proc/kvmirq-unit");
    private static final int STEPS = Integer.getInteger("kvmirq.differential.seeds", 100);
    private static final long SEED = Long.getLong("kvmirq.test.live.seed", 88);
    private static final int MOST_RESTLESS = 1000;
    private static final int MOST_DIFFERING = 5;
    private static final int FIRST_VECTOR = 0x20;
    /** One step of 8 displaces the vCPU, because the process that does so starts slowly. */
    private static final int PLACES = 8;

    private static Place place(Random random) {
        int number = random.nextInt(PLACES);
        return number == 0 ? Place.DISPLACED : Place.values()[1 + number % 3];
    }

    /** A walk, and what its senders have posted in this step. */
    private final class Walk {
        final Random random = new Random(SEED);
        final List<String> differing = new ArrayList<>();
        final Mirror mirror;
        final Map<Integer, Integer> apicIds;
        final boolean isAssigned;
        long fields;
        long predicted;
        long unknown;

        Walk(boolean isAssigned, Map<Integer, Integer> apicIds) {
            this.isAssigned = isAssigned;
            this.apicIds = apicIds;
            PostingHost host = PostingHost.of(Vendor.INTEL)
                    .withKernel(
                            LinuxVersion.of(System.getProperty("os.version")).orElseThrow());
            mirror = Mirror.of(new MirrorHost.X86(
                    isAssigned ? host : host.without(PostingHost.Feature.POSTING_UNITS),
                    Optional.empty(),
                    Optional.of(false),
                    Optional.of(false)));
            mirror.apply(new Event.IrqchipCreated(Event.Irqchip.FULL));
            mirror.apply(new Event.VcpuAdded(VCPU));
            if (isAssigned) {
                Gsi gsi = new Gsi(24);
                EventFdId eventFd = new EventFdId(1);
                mirror.apply(
                        Event.RoutesCommitted.of(new Route.Msi(gsi, MsiMessage.to(VCPU, new InterruptVector(0x41)))));
                mirror.apply(new Event.ConsumerAdded(eventFd, gsi));
                mirror.apply(new Event.ProducerAdded(
                        eventFd, new Producer(PciAddress.parse("0000:00:02.0"), Producer.Kind.MSI_X, 0)));
            }
        }

        Optional<PredictedPid> predicted() {
            return mirror.now().pid(VCPU).known();
        }

        void compare(String step, String field, Object predicted, Object read) {
            fields++;
            if (!predicted.equals(read)) {
                differing.add(step + ": " + field + " is " + read + ", predicted " + predicted);
            }
        }

        /** Compares all fields with those that the kernel has. */
        void compare(String step, KernelVcpu kernel, TreeSet<Integer> pending, boolean isOn) {
            KernelVcpu.Posted posted = kernel.posted().known().orElseThrow();
            long control = posted.words().control();
            Optional<PredictedPid> pid = predicted();
            predicted += pid.isPresent() ? pid.get().cpu().isPresent() ? 4 : 3 : 0;
            unknown += pid.isPresent() ? pid.get().cpu().isPresent() ? 0 : 1 : 4;
            pid.ifPresent(fields -> {
                compare(step, "NV", (long) fields.nv(), PostedInterruptDescriptor.NV.of(control));
                compare(step, "SN", fields.sn(), PostedInterruptDescriptor.SN.isSet(control));
                compare(step, "list", fields.nv() == Apic.WAKEUP, posted.isListed());
                fields.cpu()
                        .ifPresent(id -> compare(
                                step,
                                "NDST",
                                PostedInterruptDescriptor.destinationXapic(id),
                                PostedInterruptDescriptor.NDST.of(control)));
            });
            compare(step, "PIR", List.copyOf(pending), posted.requested());
            compare(step, "ON", isOn, PostedInterruptDescriptor.ON.isSet(control));
            compare(
                    step,
                    "reserved bits",
                    0L,
                    posted.words().reserved320()
                            | posted.words().reserved384()
                            | posted.words().reserved448());
            compare(step, "APICv", true, kernel.active());
        }
    }

    private static KernelVcpu read(KernelPaths memory, HostFacts host) {
        return memory.vcpus(host, thread -> true)
                .known()
                .orElseThrow()
                .get(0)
                .known()
                .orElseThrow()
                .get(0);
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void descriptorIsAsPredicted(boolean isAssigned) throws Exception {
        assumeTrue(
                Files.exists(ENABLED) && Files.readString(ENABLED).startsWith("Y") && Files.exists(UNIT),
                "needs kvm_intel with APICv, and the module that posts: LAB=apicv");
        String throttle = VcpuPhasesContract.setAside();
        Walk walk = new Walk(isAssigned, VcpuPhasesContract.apicIds());
        HostFacts host = new HostFacts(HostFiles.of(Path.of("/")));
        try (Kernel kernel = Kernel.open(Backends.AUTO);
                Vm vm = Vm.create(kernel);
                KernelPaths memory = KernelPaths.of(HostFiles.of(Path.of("/")), KernelStructures.CORE)) {
            vm.x86().createIrqchip();
            try (GuestMemory guest = vm.addMemory(0, 0x10000);
                    Vcpu vcpu = vm.createVcpu(VCPU);
                    OutputStream unit = new FileOutputStream(UNIT.toFile())) {
                vcpu.x86().enableLapic();
                X86Lapic clean = vcpu.x86().lapic();
                if (isAssigned) {
                    ask(unit, "start " + Integer.toHexString(Numbers.of(vm.fd())));
                }
                long address = KernelPids.first();
                Runner runner = new Runner(vcpu, () -> vcpu.x86().setLapic(clean));
                try (Watched watched = new Watched(VcpuPhasesContract.known(TraceInstance.mounted()), runner.tid)) {
                    for (int i = 0; i < STEPS && walk.differing.size() < MOST_DIFFERING; i++) {
                        step(walk, i, runner, guest, watched, vm, unit, address, memory, host);
                    }
                }
                runner.end();
            }
        } finally {
            VcpuPhasesContract.restore(throttle);
        }
        System.out.println("lab-descriptors: " + (isAssigned ? "with an assignment" : "stock") + ", seed " + SEED + ": "
                + STEPS + " steps, " + walk.fields + " fields compared, " + walk.unknown + " not predicted, "
                + walk.differing.size() + " differ");
        assertThat(walk.differing).isEmpty();
        assertThat(walk.unknown).as("of %s by the mirror", walk.predicted).isLessThan(walk.fields / 10);
        assertThat(walk.predicted).isGreaterThan(3L * STEPS);
    }

    private static void ask(OutputStream unit, String line) throws IOException {
        unit.write(line.getBytes(StandardCharsets.US_ASCII));
    }

    private static void step(
            Walk walk,
            int number,
            Runner runner,
            GuestMemory guest,
            Watched watched,
            Vm vm,
            OutputStream unit,
            long address,
            KernelPaths memory,
            HostFacts host)
            throws Exception {
        Place place = place(walk.random);
        // The guest has no handler: what is pending stays until the LAPIC is set anew.
        Sender sender =
                place == Place.HALTED ? Sender.NOBODY : Sender.values()[walk.random.nextInt(walk.isAssigned ? 4 : 2)];
        int vector = FIRST_VECTOR + walk.random.nextInt(256 - FIRST_VECTOR);
        String step = "step " + number + " " + place + " " + sender + " 0x" + Integer.toHexString(vector);
        Optional<Process> hog = Optional.empty();
        try {
            hog = VcpuPhasesContract.reach(place, runner, guest);
            rest(walk, place, watched, step);
            walk.compare(step + " before", read(memory, host), new TreeSet<>(), false);
            boolean suppresses = walk.predicted().filter(PredictedPid::sn).isPresent();
            switch (sender) {
                case NOBODY -> {
                    return;
                }
                case SIGNAL_MSI -> vm.signal(MsiMessage.to(VCPU, new InterruptVector(vector)));
                default ->
                    ask(
                            unit,
                            "post " + Long.toHexString(address) + " " + Integer.toHexString(vector) + " "
                                    + (sender == Sender.URGENT_UNIT ? 1 : 0));
            }
            rest(walk, place, watched, step);
            KernelVcpu after = read(memory, host);
            if (place == Place.SPINNING) {
                walk.compare(step + " after", after, new TreeSet<>(), false);
                walk.compare(
                        step,
                        "IRR",
                        List.of(vector),
                        after.page().known().orElseThrow().requested());
            } else {
                walk.compare(
                        step + " after", after, new TreeSet<>(List.of(vector)), sender != Sender.UNIT || !suppresses);
            }
            assertThat(Drift.of(after, Drift.Cpus.of(host, memory)))
                    .as(step)
                    .noneMatch(field -> field.verdict() == Drift.Verdict.DIFFER);
        } finally {
            if (hog.isPresent()) {
                hog.get().destroyForcibly().waitFor();
            }
            runner.leave();
        }
    }

    /** Tells the mirror all that happened, until the vCPU is where it should be and rests. */
    private static void rest(Walk walk, Place place, Watched watched, String step) throws IOException {
        boolean rests = false;
        for (int i = 0; !rests && i < MOST_RESTLESS; i++) {
            List<Event> since = watched.read(walk.apicIds);
            walk.mirror.apply(since);
            rests = since.isEmpty() && watched.isQuiet() && watched.phase().equals(VcpuPhasesContract.expected(place));
        }
        assertThat(rests).as(step + ": %s", watched.phase()).isTrue();
    }
}
