/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import io.kvmirq.VcpuId;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.diag.sources.LiveHost;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.FakeTracing;
import io.kvmirq.fake.FakeVcpu;
import io.kvmirq.fake.Profile;
import io.kvmirq.host.trace.Tracing;
import io.kvmirq.kvm.Vm;
import io.kvmirq.path.Known;
import io.kvmirq.text.Foreign;
import io.kvmirq.undo.Undo;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CountDownLatch;

/**
 * An example guest on a fake kernel, named web. It has two vCPUs. While it is watched, its first vCPU runs, and the host
 * takes the CPU away from the second.
 */
final class FakeGuest implements LiveHost, AutoCloseable {
    private static final int VCPUS = 2;
    private static final String PROC = "proc/" + FakeTracing.PROCESS + "/";
    private static final int SECOND = 1_000_000_000;

    private final Undo parts = new Undo();
    private final FakeKernel kernel;
    private long nanos;

    private FakeGuest(String profile) {
        kernel = FakeDevices.kernel(profile);
        Vm vm = parts.add(Vm.create(parts.add(kernel.open())));
        vm.x86().createIrqchip();
        for (int i = 0; i < VCPUS; i++) {
            parts.add(vm.createVcpu(new VcpuId(i))).x86().enableLapic();
        }
    }

    /**
     * Starts it.
     *
     * @throws IllegalArgumentException if there is no such profile, or it models no CPUs of a host
     */
    static FakeGuest start(String profile) {
        if (!Profile.parse(profile).isArm64()) {
            FakeGuest guest = new FakeGuest(profile);
            if (!guest.kernel.vcpus().isEmpty()) {
                return guest;
            }
            guest.close();
        }
        throw new IllegalArgumentException("--fake is " + Foreign.quoted(profile)
                + ", which does not model host CPUs: --vcpus needs vtd, vtd-posting, amd-avic or avic-inhibited");
    }

    @Override
    public HostFiles files() {
        Map<String, byte[]> files = new HashMap<>();
        Map<String, String> links = new HashMap<>();
        put(files, PROC + "comm", "vmm");
        put(files, PROC + "cmdline", "vmm\0--name\0web\0");
        links.put(PROC + "fd/3", "anon_inode:kvm-vm");
        put(files, PROC + "task/" + FakeTracing.PROCESS + "/comm", "vmm");
        for (FakeVcpu vcpu : kernel.vcpus()) {
            int id = vcpu.id().number();
            String task = PROC + "task/" + vcpu.thread() + "/";
            links.put(PROC + "fd/" + (5 + id), "anon_inode:kvm-vcpu:" + id);
            put(files, task + "comm", "CPU " + id + "/KVM");
            put(
                    files,
                    task + "stat",
                    vcpu.thread() + " (CPU " + id + "/KVM) S" + " 0".repeat(35) + " "
                            + vcpu.cpu().orElse(0) + " 0".repeat(15));
            String file = "sys/kernel/debug/kvm/" + FakeTracing.PROCESS + "-3/vcpu" + id + "/pid";
            put(files, file, String.valueOf(vcpu.thread()));
        }
        return new FilesOver(HostFiles.of(files, links), kernel.hostFiles());
    }

    private static void put(Map<String, byte[]> files, String path, String text) {
        files.put(path, text.getBytes(StandardCharsets.UTF_8));
    }

    @Override
    public List<String> tidy() {
        return List.of();
    }

    @Override
    public Known<Tracing> tracing(Set<Integer> threads) {
        var buffer = kernel.tracing();
        buffer.only(threads);
        return new Known.Observed<>(new FakeRecording(buffer));
    }

    @Override
    public long nanos() {
        return nanos;
    }

    @Override
    public Duration cpu() {
        return Duration.ZERO;
    }

    @Override
    public void await(CountDownLatch early, int seconds) {
        List<FakeVcpu> vcpus = kernel.vcpus();
        for (int i = 0; i < VCPUS; i++) {
            vcpus.get(i).load(1 + i);
            vcpus.get(i).enterGuest();
        }
        vcpus.get(VCPUS - 1).preempt();
        nanos += (long) seconds * SECOND;
    }

    @Override
    public void close() {
        parts.close();
    }
}
