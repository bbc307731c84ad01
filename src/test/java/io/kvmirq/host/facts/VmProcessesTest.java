/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.facts;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.PciAddress;
import io.kvmirq.VcpuId;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.host.facts.VmProcess.EventfdFile;
import io.kvmirq.host.facts.VmProcess.VcpuFile;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.Vm;
import io.kvmirq.testing.RealKvm;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Processes that hold VMs, by their files in /proc; the lines are those of real hosts of 6.1 and 7.2. */
class VmProcessesTest {
    private static final PciAddress NETWORK = PciAddress.parse("0000:00:02.0");
    private static final PciAddress OTHER = PciAddress.parse("0000:00:02.1");

    private static final long PATIENCE_NANOS = 20_000_000_000L;

    private final RecordedHost host = new RecordedHost();

    private void fd(int number, String target, String... info) {
        host.link("proc/100/fd/" + number, target);
        host.put("proc/100/fdinfo/" + number, "pos:\t0\nflags:\t02004002\n" + String.join("\n", info) + "\n");
    }

    private VmProcess one() {
        return new HostFacts(host.tree()).vms().all().get(0);
    }

    @Test
    void filesOfAProcessAreItsVm() {
        host.put("proc/100/comm", "qemu-system-x86\n");
        host.put("proc/100/cmdline", "/usr/bin/qemu\0-name\0guest=web,,1,debug-threads=on\0-m\0" + "512\0");
        host.put("proc/100/task/103/comm", "CPU 1/KVM\n").put("proc/100/task/100/comm", "qemu-system-x86\n");
        fd(7, "anon_inode:kvm-vm");
        fd(8, "anon_inode:kvm-vcpu:0");
        fd(9, "anon_inode:kvm-vcpu:1");
        fd(10, "anon_inode:kvm-vfio");
        fd(11, "anon_inode:kvm-vcpu-stats:0");
        fd(12, "anon_inode:[eventfd]", "eventfd-count:               1f", "eventfd-id: 4");
        fd(13, "anon_inode:[eventfd]", "eventfd-count: ffffffffffffffff", "eventfd-id: -1");
        fd(14, "anon_inode:[eventpoll]", "tfd:       13 events:       19 data:        0  pos:0 ino:1 sdev:1");
        fd(15, "socket:[100]");
        host.link("proc/99/fd/0", "/dev/null").link("proc/self/fd/3", "anon_inode:kvm-vm");
        assertThat(new HostFacts(host.tree()).vms().all()).hasSize(1);
        VmProcess vm = one();
        assertThat(vm.pid()).isEqualTo(100);
        assertThat(vm.command()).isEqualTo("qemu-system-x86");
        assertThat(vm.name()).isEqualTo("web,1");
        assertThat(vm.arguments())
                .containsExactly("/usr/bin/qemu", "-name", "guest=web,,1,debug-threads=on", "-m", "512");
        assertThat(vm.vms()).containsExactly(7);
        assertThat(vm.vcpus())
                .containsExactly(new VcpuFile(0, 8, OptionalInt.empty()), new VcpuFile(1, 9, OptionalInt.of(103)));
        assertThat(vm.kvmDevices()).containsExactly("kvm-vfio");
        assertThat(vm.eventfds())
                .containsExactly(
                        new EventfdFile(12, OptionalInt.of(4), 0x1f, false),
                        new EventfdFile(13, OptionalInt.empty(), -1, true));
        assertThat(vm.devices()).isEmpty();
    }

    /** guest_time is the 41st field behind the name. */
    private static String stat(int tid, long guestTicks) {
        return tid + " (Thread-1) R" + " 0".repeat(39) + " " + guestTicks + " 0".repeat(9) + "\n";
    }

    /** proc_pid_syscall() in fs/proc/base.c; a thread that has a CPU prints "running". */
    @ParameterizedTest
    @CsvSource({"x86-64, 16", "arm64, 29"})
    void threadsOfAnyNameAreThoseThatRunAVcpu(String machine, int ioctl) {
        String rest = " 0x0 0x0 0x0 0x0 0x7f11c0 0x7f11c8\n";
        fd(7, "anon_inode:kvm-vm");
        fd(0x1d, "anon_inode:kvm-vcpu:0");
        fd(0x1e, "anon_inode:kvm-vcpu:1");
        fd(0x1f, "anon_inode:kvm-vcpu:2");
        host.put("proc/100/task/100/syscall", "202 0x7f 0x80 0x0" + rest)
                .put("proc/100/task/101/comm", "vcpu of mine\n")
                .put("proc/100/task/101/syscall", ioctl + " 0x1e 0xae80" + rest)
                .put("proc/100/task/102/syscall", ioctl + " 0x1d 0xae80" + rest)
                // KVM_GET_REGS of the third vCPU, by a debugger.
                .put("proc/100/task/103/syscall", ioctl + " 0x1f 0x8090ae81" + rest)
                .put("proc/100/task/104/syscall", "running\n");
        assertThat(one().vcpus())
                .as(machine)
                .containsExactly(
                        new VcpuFile(0, 0x1d, OptionalInt.of(102)),
                        new VcpuFile(1, 0x1e, OptionalInt.of(101)),
                        new VcpuFile(2, 0x1f, OptionalInt.empty()));

        // One thread is left that has run a guest, and one vCPU.
        host.put("proc/100/task/103/stat", stat(103, 0)).put("proc/100/task/104/stat", stat(104, 7));
        assertThat(one().vcpus()).contains(new VcpuFile(2, 0x1f, OptionalInt.of(104)));

        // A worker that the kernel started in KVM_RUN shows the system call of its maker.
        host.put("proc/100/task/105/syscall", ioctl + " 0x1f 0xae80" + rest)
                .put("proc/100/task/105/stat", stat(105, 0).replace("R 0 0 0 0 0 0", "S 0 0 0 0 0 16384"));
        assertThat(one().vcpus()).contains(new VcpuFile(2, 0x1f, OptionalInt.of(104)));
        host.put("proc/100/task/103/stat", stat(103, 9));
        assertThat(one().vcpus()).contains(new VcpuFile(2, 0x1f, OptionalInt.empty()));
        // A thread that exits runs no vCPU any more.
        host.put("proc/100/task/103/stat", stat(103, 9).replace("R 0 0 0 0 0 0", "R 0 0 0 0 0 4"));
        assertThat(one().vcpus()).contains(new VcpuFile(2, 0x1f, OptionalInt.of(104)));
    }

    @ParameterizedTest
    @ValueSource(strings = {"CPU 1/KVM", "crosvm_vcpu1", "vcpu1", "fc_vcpu 1", "kvm-vcpu-1"})
    void threadsAreNamedByTheirVmm(String name) {
        fd(7, "anon_inode:kvm-vm");
        fd(8, "anon_inode:kvm-vcpu:1");
        host.put("proc/100/task/103/comm", name + "\n");
        assertThat(one().vcpus()).containsExactly(new VcpuFile(1, 8, OptionalInt.of(103)));
    }

    @ParameterizedTest
    @CsvSource({
        "-name db,                    db",
        "-name guest=db,              db",
        "--name db,                   db",
        "--name=db,                   db",
        "--id db,                     db",
        "-m 512,                      java",
        "-name,                       java"
    })
    void guestIsNamedByTheCommandLine(String arguments, String name) {
        host.put("proc/100/comm", "java\n");
        host.put("proc/100/cmdline", "vmm\0" + arguments.replace(' ', '\0') + "\0");
        fd(7, "anon_inode:kvm-vm");
        assertThat(one().name()).isEqualTo(name);
    }

    /** Older kernels do not show the path of a device: every device of the group may be open. */
    @Test
    void devicesAreThoseOfTheGroupUnlessTheFileShowsIts() {
        for (PciAddress address : List.of(NETWORK, OTHER)) {
            host.link("sys/kernel/iommu_groups/4/devices/" + address, "x")
                    .link("sys/bus/pci/devices/" + address + "/driver", "../drivers/vfio-pci");
        }
        fd(3, "/dev/vfio/vfio");
        fd(4, "/dev/vfio/4");
        fd(5, "anon_inode:[vfio-device]");
        fd(7, "anon_inode:kvm-vm");
        assertThat(one().devices()).isEmpty();
        assertThat(one().mayHave()).containsExactly(NETWORK, OTHER);
        assertThat(new HostFacts(host.tree()).vms().ofGroup(OTHER)).hasSize(1);
        host.put("proc/100/cmdline", "qemu\0-name\0file=00:02.1f\0");
        assertThat(one().devices()).as("a longer word").isEmpty();
        host.put("proc/100/cmdline", "qemu\0-device\0vfio-pci,host=00:02.1\0");
        assertThat(one().devices()).containsExactly(OTHER);
        assertThat(one().mayHave()).containsExactly(NETWORK);
        host.put("proc/interrupts", " 30:  5  IR-PCI-MSI 0-edge vfio-msix[0](0000:00:02.0)\n");
        assertThat(one().devices()).containsExactly(NETWORK, OTHER);
        host.remove("proc/interrupts").remove("proc/100/cmdline");
        fd(6, "anon_inode:[vfio-device]");
        assertThat(one().devices()).containsExactly(NETWORK, OTHER);
        assertThat(new HostFacts(host.tree()).vms().using(OTHER)).hasSize(1);
        fd(5, "anon_inode:[vfio-device]", "vfio-device-syspath: /sys/devices/pci0000:00/0000:00:02.1");
        assertThat(one().devices()).containsExactly(OTHER);
    }

    @Test
    void deviceOfACdevIsFoundByItsName() {
        host.put("sys/bus/pci/devices/0000:00:02.0/vfio-dev/vfio3/dev", "511:3\n");
        fd(5, "/dev/vfio/devices/vfio3");
        fd(7, "anon_inode:kvm-vm");
        assertThat(one().devices()).containsExactly(NETWORK);
    }

    @Test
    void processesThatDoNotShowTheirDescriptorsAreCounted() {
        Map<String, byte[]> empty = new HashMap<>();
        for (String path : List.of("5/comm", "6/comm", "7/fd/3", "7/task/7/comm", "8/fd/3")) {
            empty.put("proc/" + path, new byte[0]);
        }
        HostFiles files = HostFiles.of(empty, Map.of(), Set.of("proc/5/fd"));
        VmProcesses vms = new HostFacts(files).vms();
        assertThat(vms.all()).isEmpty();
        assertThat(vms.unreadable())
                .as("the list of 5 is refused, and a link of 7; 8 has exited")
                .isEqualTo(2);
    }

    @Test
    @RealKvm
    void thisProcessIsFoundOnTheRealKernel() {
        try (Kernel kernel = Kernel.open();
                Vm vm = Vm.create(kernel);
                EventFd event = EventFd.create(kernel)) {
            vm.x86().createSplitIrqchip(24);
            try (Vcpu vcpu = vm.createVcpu(new VcpuId(3))) {
                vcpu.x86().enableLapic();
                event.signal(0x1f);
                int pid = (int) ProcessHandle.current().pid();
                VmProcess own = new HostFacts(HostFiles.at(Path.of("/")))
                        .vms().all().stream()
                                .filter(process -> process.pid() == pid)
                                .findFirst()
                                .orElseThrow();
                assertThat(own.command()).isEqualTo("java");
                assertThat(own.vms()).isNotEmpty();
                assertThat(own.vcpus()).extracting(VcpuFile::id).contains(3);
                assertThat(own.eventfds()).anySatisfy(file -> {
                    assertThat(file.count()).isEqualTo(0x1f);
                    assertThat(file.id()).isPresent();
                    assertThat(file.polled()).isFalse();
                });
            }
        }
    }

    /** Two vCPUs that wait for INIT and SIPI, in threads whose names say nothing. */
    @Test
    @RealKvm
    void threadsOfThisProcessAreThoseThatRunItsVcpus() throws InterruptedException {
        try (Kernel kernel = Kernel.open();
                Vm vm = Vm.create(kernel)) {
            vm.x86().createSplitIrqchip(24);
            try (Vcpu first = vm.createVcpu(new VcpuId(1));
                    Vcpu second = vm.createVcpu(new VcpuId(2))) {
                List<Thread> threads = List.of(runner(first, "of first"), runner(second, "of second"));
                threads.forEach(Thread::start);
                try {
                    assertThat(threadOf(1)).isEqualTo("of first");
                    assertThat(threadOf(2)).isEqualTo("of second");
                } finally {
                    first.kick();
                    second.kick();
                    for (Thread thread : threads) {
                        thread.join();
                    }
                }
            }
        }
    }

    private static Thread runner(Vcpu vcpu, String name) {
        return new Thread(
                () -> {
                    vcpu.moveHere();
                    vcpu.run();
                },
                name);
    }

    /** The name of the thread that runs a vCPU, once one is seen in it. */
    private static String threadOf(int id) {
        HostFiles root = HostFiles.at(Path.of("/"));
        int pid = (int) ProcessHandle.current().pid();
        long end = System.nanoTime() + PATIENCE_NANOS;
        while (System.nanoTime() < end) {
            Optional<Integer> thread = new HostFacts(root)
                    .vms().all().stream()
                            .filter(process -> process.pid() == pid)
                            .flatMap(process -> process.vcpus().stream())
                            .filter(file -> file.id() == id)
                            .flatMap(file -> file.thread().stream().boxed())
                            .findFirst();
            if (thread.isPresent()) {
                return root.text("proc/" + pid + "/task/" + thread.get() + "/comm")
                        .orElse("none");
            }
        }
        return "no thread";
    }

    @Test
    void fileIsReadOnce() {
        List<String> asked = new ArrayList<>();
        host.put("proc/version", "Linux version 6.1.0 x\n").put("dev/kvm", "");
        HostFiles counting = new CountingFiles(host.tree(), asked);
        HostFacts facts = new HostFacts(counting);
        for (int i = 0; i < 3; i++) {
            facts.kernel();
            facts.interrupts();
            facts.vms();
            facts.iommus();
            facts.kvm().file();
        }
        assertThat(asked)
                .doesNotHaveDuplicates()
                .contains("owner of dev/kvm", "proc/version", "proc/interrupts", "sys/class/iommu");
    }

    @ParameterizedTest
    @ValueSource(strings = {"vcpu1", "crosvm_vcpu1", "fc_vcpu 1", "kvm-vcpu-1", "CPU 1/KVM"})
    void threadIsNamedAfterItsVcpuByEveryVmm(String name) throws IOException {
        RecordedHost host = GuestHosts.of("amd-avic").put("proc/100/task/102/comm", name + "\n");
        assertThat(new HostFacts(host.tree()).vms().all().get(0).vcpus().get(1).thread())
                .hasValue(102);
        host.put("proc/100/task/102/comm", name + "/TCG\n");
        assertThat(new HostFacts(host.tree()).vms().all().get(0).vcpus().get(1).thread())
                .isEmpty();
    }
}
