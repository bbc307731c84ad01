/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.arm64;

import io.kvmirq.NotModelledException;
import io.kvmirq.explain.ArmAnswer;
import io.kvmirq.explain.VmAnswer;
import io.kvmirq.fake.file.Requests;
import io.kvmirq.fake.file.Script;
import io.kvmirq.fake.file.ScriptedExit;
import io.kvmirq.fake.kvm.Attribute;
import io.kvmirq.fake.kvm.ScriptPlayer;
import io.kvmirq.fake.kvm.VcpuFile;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiArm64;
import io.kvmirq.uapi.UapiTable.FileKind;
import java.nio.ByteBuffer;
import org.jspecify.annotations.Nullable;

/** A vCPU's descriptor on arm64; source: {@code kvm_arch_vcpu_ioctl()} in arch/arm64/kvm/arm.c. */
final class ArmVcpuFile extends VcpuFile {
    private static final int REG_LIST_SIZE = 8;
    private static final int ONE_REG_SIZE = 16;
    /** KVM_ARM_VCPU_PMU_V3_CTRL to KVM_ARM_VCPU_PVTIME_CTRL. */
    private static final int ATTRIBUTE_GROUPS = 3;

    private static final Requests<ArmVcpuFile> REQUESTS = new Requests<ArmVcpuFile>(
                    VmAnswer.VCPU_UNKNOWN_REQUEST, number -> ArmRequests.name(FileKind.VCPU, number))
            .value(Uapi.KVM_RUN, ArmVcpuFile::run)
            .in(UapiArm64.KVM_ARM_VCPU_INIT, (file, init) -> file.host.refuse(file.vcpu.init(init)))
            .value(Uapi.KVM_SET_SIGNAL_MASK, (vcpu, set) -> vcpu.setSignals(set))
            .value(
                    UapiArm64.KVM_GET_REG_LIST,
                    (file, address) -> file.registers("KVM_GET_REG_LIST", address, REG_LIST_SIZE))
            .value(
                    UapiArm64.KVM_GET_ONE_REG,
                    (file, address) -> file.registers("KVM_GET_ONE_REG", address, ONE_REG_SIZE))
            .value(
                    UapiArm64.KVM_SET_ONE_REG,
                    (file, address) -> file.registers("KVM_SET_ONE_REG", address, ONE_REG_SIZE))
            .in(Uapi.KVM_GET_DEVICE_ATTR, ArmVcpuFile::attribute)
            .in(Uapi.KVM_SET_DEVICE_ATTR, ArmVcpuFile::attribute)
            .in(Uapi.KVM_HAS_DEVICE_ATTR, ArmVcpuFile::attribute);

    private final ArmVcpu vcpu;
    private final ArmVm vm;
    private @Nullable ScriptPlayer player;
    private boolean running;

    ArmVcpuFile(ArmVm vm, ArmVcpu vcpu) {
        super(vm.host(), ArmKvmFile.RUN_SIZE);
        this.vm = vm;
        this.vcpu = vcpu;
    }

    /** One ioctl at a time. */
    @Override
    public int ioctl(long request, long argument) {
        while (running) {
            host.note(VmAnswer.VCPU_ONE_CALL);
            host.time().awaitChange();
        }
        return REQUESTS.answer(this, request, argument);
    }

    // KVM_RUN

    /** In the order of {@code kvm_arch_vcpu_ioctl_run()}. */
    private int run(long argument) {
        if (argument != 0) {
            return host.refuse(VmAnswer.VCPU_RUN_ARGUMENT);
        }
        Script script = host.scripts().get(vcpu.id());
        if (script == null) {
            throw new NotModelledException("KVM_RUN on arm64, but of a vCPU that plays exits (FakeKernel.vcpu)");
        }
        if (!vcpu.isInitialized()) {
            return host.refuse(ArmAnswer.ARM_VCPU_NOT_INITIALIZED);
        }
        if (vm.vgic().filter(vgic -> !vgic.isInitialized()).isPresent()) {
            throw new NotModelledException("KVM_RUN before the VGIC is initialized");
        }
        if (player == null) {
            player = new ScriptPlayer(script, vm, vm.memory(), page);
        }
        player.completeRead();
        int ended = page.refusesToEnter();
        return ended == 0 ? play(script, player) : ended;
    }

    private int play(Script script, ScriptPlayer with) {
        host.threads().beginRun(signals);
        running = true;
        try {
            while (true) {
                int ended = page.signalled();
                if (ended != 0) {
                    return ended;
                }
                ScriptedExit exit = script.next();
                if (exit == null) {
                    host.time().awaitChange();
                } else if (with.plays(exit)) {
                    return 0;
                }
            }
        } finally {
            running = false;
            host.threads().endRun();
            host.time().changed();
        }
    }

    private int registers(String name, long address, int size) {
        if (!vcpu.isInitialized()) {
            return host.refuse(ArmAnswer.ARM_VCPU_NOT_INITIALIZED);
        }
        return host.copied(address, size, ignored -> {
            throw new NotModelledException(name);
        });
    }

    private int attribute(ByteBuffer structure) {
        int group = Attribute.of(structure).group();
        if (group >= 0 && group < ATTRIBUTE_GROUPS) {
            throw new NotModelledException("the attributes of a vCPU on arm64");
        }
        return host.refuse(ArmAnswer.ARM_VCPU_ATTRIBUTE);
    }
}
