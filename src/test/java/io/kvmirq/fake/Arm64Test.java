/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.Errno;
import io.kvmirq.NotModelledException;
import io.kvmirq.Ppi;
import io.kvmirq.VcpuId;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.explain.Answer;
import io.kvmirq.explain.Answers;
import io.kvmirq.explain.Grade;
import io.kvmirq.explain.VgicAnswer;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.VgicV3;
import io.kvmirq.kvm.Vm;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.RulesSeen;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiArm64;
import io.kvmirq.uapi.UapiTable;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The fake kernel's arm64 profiles against what real kernels answered in the lab. */
class Arm64Test {
    private static final String RESULT = " = ";

    private static List<String> recorded(String version) throws IOException {
        return Files.readAllLines(Machine.root().resolve("src/test/resources/arm64-" + version + ".txt"));
    }

    /** Does the recorded rows on a fake kernel and gives them back with its results. */
    private static List<String> performed(FakeKernel kernel, List<String> recorded) {
        ArmRows rows = new ArmRows(kernel);
        List<String> performed = new ArrayList<>();
        for (String line : recorded) {
            int end = line.startsWith("#") ? -1 : line.indexOf(RESULT);
            String row = end < 0 ? line : line.substring(0, end);
            if (row.startsWith("section")) {
                rows.begin();
            }
            performed.add(end < 0 ? row : row + RESULT + rows.perform(row.split(" ", -1)));
        }
        return performed;
    }

    @ParameterizedTest
    @ValueSource(strings = {"6.1", "6.12"})
    void profileAnswersAsTheRealKernelDid(String version) throws IOException {
        FakeKernel kernel = new FakeKernel(Profile.parse(version + ",arm64"));
        List<String> recorded = recorded(version);
        assertThat(recorded).as("rows").hasSizeGreaterThan(700);
        List<String> performed = performed(kernel, recorded);
        List<String> differences = new ArrayList<>();
        for (int i = 0; i < recorded.size(); i++) {
            if (!performed.get(i).equals(recorded.get(i))) {
                differences.add("line " + (i + 1) + ": " + performed.get(i) + ", really " + recorded.get(i));
            }
        }
        assertThat(differences).isEmpty();
        RulesSeen.addRecorded(kernel);
    }

    /** KVM_IRQ_LINE has the vCPU in two fields. */
    @Test
    void ppiOfAVcpuAbove255IsItsOwn() {
        VcpuId first = new VcpuId(0);
        VcpuId second = new VcpuId(256);
        Ppi ppi = new Ppi(20);
        try (Kernel kernel = Kernel.over(new FakeKernel(Profile.parse("6.12,arm64")).backend());
                Vm vm = Vm.create(kernel);
                Vcpu vcpu = vm.createVcpu(first);
                Vcpu other = vm.createVcpu(second)) {
            vcpu.arm64().initialize();
            other.arm64().initialize();
            try (VgicV3 vgic = vm.arm64().createVgicV3()) {
                vgic.init();
                vm.arm64().setPpi(second, ppi, true);
                assertThat(vgic.isHigh(second, ppi)).isTrue();
                assertThat(vgic.isHigh(first, ppi)).isFalse();
            }
        }
    }

    /**
     * Others are shown by {@code ArmVcpuContract}, {@code ItsContract} and {@code VgicRegistersContract}, which
     * machines of the lab run.
     */
    @Test
    void rulesOfTheLabAreInItsRows() throws IOException {
        Set<Answer> used = new HashSet<>();
        for (String version : List.of("6.1", "6.12")) {
            FakeKernel kernel = new FakeKernel(Profile.parse(version + ",arm64"));
            performed(kernel, recorded(version));
            used.addAll(Refusals.rules(kernel));
        }
        assertThat(used)
                .containsAll(Answers.rules()
                        .filter(rule -> rule.grade() == Grade.LAB && rule.name().matches("(ARM|VGIC)_.*"))
                        .filter(rule -> !rule.name().matches("ARM_(FINALIZE|REGISTER|STATE|TIMER|PMU).*"))
                        .filter(rule -> rule != VgicAnswer.VGIC_REVISION && rule != VgicAnswer.VGIC_IDENTIFICATION)
                        .toList());
    }

    /**
     * Since 6.16 a feature of nested vCPUs is known; since 6.17 an eventfd belongs to one VM, and an ITS refuses a control
     * attribute that it does not have; since 7.1 a line asks first whether the VGIC is initialized.
     */
    @ParameterizedTest
    @ValueSource(strings = {"6.18", "7.1"})
    void laterProfilesDifferInAFewAnswers(String version) throws IOException {
        List<String> recorded = recorded("6.12");
        List<String> performed = performed(new FakeKernel(Profile.parse(version + ",arm64")), recorded);
        performed.removeAll(recorded);
        List<String> expected = new ArrayList<>(List.of(
                "init 0 KVM_ARM_TARGET_GENERIC_V8 0x100 = EINVAL",
                "irqfd B E 5 0 = EBUSY",
                "set I KVM_DEV_ARM_VGIC_GRP_CTRL 99 0 = ENXIO"));
        if (version.equals("7.1")) {
            expected.addAll(
                    2,
                    List.of(
                            "line A 0x0100001f 1 = EBUSY",
                            "line A 0x0201001b 1 = EBUSY",
                            "line A 0x02000020 1 = EBUSY"));
        }
        assertThat(performed).containsExactlyElementsOf(expected);
    }

    @Test
    void bothKernelsWereAskedTheSame() throws IOException {
        assertThat(rows("6.1")).isEqualTo(rows("6.12"));
    }

    private static List<String> rows(String version) throws IOException {
        return recorded(version).stream()
                .filter(line -> !line.startsWith("#"))
                .map(line -> line.split(RESULT, 2)[0])
                .toList();
    }

    private static List<String> results(String profile, String... rows) {
        ArmRows kernel = new ArmRows(new FakeKernel(Profile.parse(profile)));
        return Stream.of(rows).map(row -> kernel.perform(row.split(" ", -1))).toList();
    }

    /** Kernels since 6.16 know the two features of a nested vCPU, which the lab's host lacks. */
    @Test
    void nestedVcpuIsRefusedAsAFeatureOfTheHost() {
        String[] rows = {"vm A 0", "vcpu V A 0", "init V 5 0x80", "init V 5 0x100", "init V 5 0x200"};
        assertThat(results("6.12,arm64", rows)).containsExactly("fd", "fd", "ENOENT", "ENOENT", "ENOENT");
        assertThat(results("7.1,arm64", rows)).containsExactly("fd", "fd", "EINVAL", "EINVAL", "ENOENT");
    }

    /** Seen on 7.2. */
    @Test
    void lineOfNoVcpuInitializesAGicV2OfANewerKernel() {
        String[] rows = {
            "vm A 0", "device G A KVM_DEV_TYPE_ARM_VGIC_V2 0", "eventfd E 0", "line A 0x2000012 0", "irqfd A E 0 0"
        };
        assertThat(results("6.12,arm64,gicv2", rows)).containsExactly("fd", "fd", "fd", "EINVAL", "EAGAIN");
        assertThat(results("7.1,arm64,gicv2", rows)).containsExactly("fd", "fd", "fd", "EINVAL", "0");
    }

    @Test
    void newerKernelsHaveAnotherCapabilityToEnable() {
        assertThat(results("6.12,arm64", "vm A 0", "enable A 245 0 0")).containsExactly("fd", "EINVAL");
        assertThatThrownBy(() -> results("7.1,arm64", "vm A 0", "enable A 245 0 0"))
                .hasMessageContaining("does not model enabling capability 245");
    }

    @Test
    void onlyX86HasAnIrqchipToSplit() {
        assertThatThrownBy(() -> Profile.parse("6.18,arm64,split"))
                .hasMessage("profile '6.18,arm64,split' contradicts itself: only x86 has an irqchip to split,"
                        + " choose arm64 or split");
        assertThat(Profile.parse("6.18,arm64").label()).isEqualTo("6.18,arm64");
    }

    /** Running a guest, and what only a running guest decides. */
    @Test
    void whatIsNotModelledIsRefusedByName() {
        FakeKernel kernel = new FakeKernel(Profile.parse("6.12,arm64"));
        KernelBackend fake = kernel.backend();
        int vm = fake.vmCreate(fake.kvmOpen(Buffers.cString("/dev/kvm")), 0);
        int vcpu = kernel.libc().ioctl(vm, Uapi.KVM_CREATE_VCPU, 0);
        assertThat(kernel.libc().ioctl(vcpu, Uapi.KVM_RUN, 1)).isEqualTo(-Errno.EINVAL.number());
        assertThat(kernel.libc().ioctl(vcpu, Uapi.KVM_RUN, 0)).isEqualTo(-Errno.ENOEXEC.number());
        ByteBuffer init = Buffers.allocate(UapiArm64.KvmVcpuInit.SIZE)
                .putInt(UapiArm64.KvmVcpuInit.TARGET, UapiArm64.KVM_ARM_TARGET_GENERIC_V8);
        assertThat(kernel.libc()
                        .ioctl(vcpu, UapiArm64.KVM_ARM_VCPU_INIT, kernel.libc().addressOf(init)))
                .isZero();
        assertThatThrownBy(() -> kernel.libc().ioctl(vcpu, Uapi.KVM_RUN, 0))
                .isInstanceOf(NotModelledException.class)
                .hasMessage("the fake kernel does not model KVM_RUN on arm64, except of a vCPU that plays exits"
                        + " (FakeKernel.vcpu)");
        assertThatThrownBy(() -> kernel.libc().ioctl(vm, UapiArm64.KVM_ARM_SET_DEVICE_ADDR, 0))
                .hasMessage("the fake kernel does not model KVM_ARM_SET_DEVICE_ADDR");
        ArmRows rows = new ArmRows(kernel);
        perform(rows, "vm A 0", "device I A KVM_DEV_TYPE_ARM_VGIC_ITS 0");
        perform(rows, "set I KVM_DEV_ARM_VGIC_GRP_ADDR KVM_VGIC_ITS_ADDR_TYPE 0x8080000");
        assertThatThrownBy(() -> perform(rows, "get I KVM_DEV_ARM_VGIC_GRP_ITS_REGS 0xffe8"))
                .hasMessage("the fake kernel does not model the identification registers of an ITS");
    }

    private static void perform(ArmRows rows, String... wanted) {
        for (String row : wanted) {
            assertThat(rows.perform(row.split(" ", -1))).as(row).isIn("fd", "0");
        }
    }

    /** A vCPU's pages are there to map, all of them. */
    @Test
    void vcpuHasTwoPages() {
        FakeKernel kernel = new FakeKernel(Profile.parse("6.12,arm64"));
        KernelBackend fake = kernel.backend();
        int kvm = fake.kvmOpen(Buffers.cString("/dev/kvm"));
        int size = kernel.libc().ioctl(kvm, Uapi.KVM_GET_VCPU_MMAP_SIZE, 0);
        int vcpu = kernel.libc().ioctl(fake.vmCreate(kvm, 0), Uapi.KVM_CREATE_VCPU, 0);
        long mapped = kernel.libc().mmap(size, Uapi.PROT_READ | Uapi.PROT_WRITE, Uapi.MAP_SHARED, vcpu, 0);
        ByteBuffer run = kernel.libc().view(mapped, size);
        assertThat(run.getInt(Uapi.KvmRun.EXIT_REASON)).isZero();
    }

    /** Requests of x86 only are unknown here; requests of all architectures are refused by name. */
    @Test
    void requestsOfX86AreUnknown() {
        FakeKernel kernel = new FakeKernel(Profile.parse("6.12,arm64"));
        KernelBackend fake = kernel.backend();
        int kvm = fake.kvmOpen(Buffers.cString("/dev/kvm"));
        int vm = fake.vmCreate(kvm, 0);
        int vcpu = kernel.libc().ioctl(vm, Uapi.KVM_CREATE_VCPU, 0);
        for (UapiTable.Request request : UapiTable.REQUESTS) {
            String name = request.name();
            if (name.matches(
                    "KVM_(X86|XEN|HYPERV|MEMORY_ENCRYPT)_.*|KVM_[GS]ET_(PIT|FPU|XSAVE|CPUID|TSC|NESTED).*|KVM_SMI")) {
                long number = request.number();
                assertThat(kernel.libc().ioctl(kvm, number, 0)).as(name).isEqualTo(-Errno.EINVAL.number());
                assertThat(kernel.libc().ioctl(vm, number, 0)).as(name).isEqualTo(-Errno.EINVAL.number());
                assertThat(kernel.libc().ioctl(vcpu, number, 0)).as(name).isEqualTo(-Errno.EINVAL.number());
            }
        }
        assertThatThrownBy(() -> kernel.libc().ioctl(vm, Uapi.KVM_CLEAR_DIRTY_LOG, 0))
                .hasMessageContaining("KVM_CLEAR_DIRTY_LOG");
        assertThatThrownBy(() -> kernel.libc().ioctl(vm, Uapi.KVM_RESET_DIRTY_RINGS, 0))
                .hasMessageContaining("KVM_RESET_DIRTY_RINGS");
    }

    /** As on x86: the descriptors are there, and nothing of KVM's may be asked but /dev/kvm. */
    @Test
    void foreignProcessGetsEio() {
        FakeKernel kernel = new FakeKernel(Profile.parse("6.12,arm64"));
        ArmRows rows = new ArmRows(kernel);
        perform(rows, "vm A 0", "vcpu 0 A 0", "device G A KVM_DEV_TYPE_ARM_VGIC_V3 0");
        perform(rows, "device I A KVM_DEV_TYPE_ARM_VGIC_ITS 0");
        kernel.callAsForeignProcess(true);
        for (String row : List.of("ioctl A 0xaeff 0", "ioctl 0 0xaeff 0", "ioctl G 0xaeff 0", "ioctl I 0xaeff 0")) {
            assertThat(rows.perform(row.split(" ", -1))).as(row).isEqualTo("EIO");
        }
    }
}
