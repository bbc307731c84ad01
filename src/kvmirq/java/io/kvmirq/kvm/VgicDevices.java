/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.explain.Fact;
import io.kvmirq.kernel.Fd;
import io.kvmirq.kernel.Ownership;
import java.util.Objects;
import java.util.function.Function;

/** Makes and adopts the in-kernel devices of a VM, and remembers which VGIC it has. Thread-safe. */
final class VgicDevices {
    private final VmCalls vm;
    private final VgicCalls calls;
    private final RouteTable routes;

    VgicDevices(VgicCalls calls, RouteTable routes) {
        this.vm = calls.vm();
        this.calls = calls;
        this.routes = routes;
    }

    KvmDevice create(KvmDevice.Type type) {
        return switch (Objects.requireNonNull(type, "type is null")) {
            case VFIO -> create(type, fd -> new KvmDevice(calls, fd));
            case VGIC_V2 -> createV2();
            case VGIC_V3 -> createV3();
            case ITS -> createIts();
        };
    }

    VgicV2 createV2() {
        vm.requireArm64("a VGIC");
        return create(KvmDevice.Type.VGIC_V2, fd -> v2(fd, false));
    }

    VgicV3 createV3() {
        vm.requireArm64("a VGIC");
        return create(KvmDevice.Type.VGIC_V3, fd -> v3(fd, false));
    }

    Its createIts() {
        vm.requireArm64("an ITS");
        return create(KvmDevice.Type.ITS, fd -> new Its(calls, fd));
    }

    private <D> D create(KvmDevice.Type type, Function<Fd, D> owner) {
        return vm.createDevice(type.number(), type.facts(), owner);
    }

    VgicV2 adoptV2(int number, Ownership ownership) {
        return vm.adoptDevice("a VGIC", number, ownership, fd -> v2(fd, true));
    }

    VgicV3 adoptV3(int number, Ownership ownership) {
        return vm.adoptDevice("a VGIC", number, ownership, fd -> v3(fd, true));
    }

    Its adoptIts(int number, Ownership ownership) {
        return vm.adoptDevice("an ITS", number, ownership, fd -> new Its(calls, fd));
    }

    private VgicV2 v2(Fd fd, boolean initialized) {
        return learned(Fact.GICV2, new VgicV2(calls, routes, fd, initialized));
    }

    private VgicV3 v3(Fd fd, boolean initialized) {
        return learned(Fact.GICV3, new VgicV3(calls, routes, fd, initialized));
    }

    private <V extends Vgic> V learned(Fact version, V vgic) {
        vm.learn(Fact.VGIC);
        vm.learn(version);
        return vgic;
    }
}
