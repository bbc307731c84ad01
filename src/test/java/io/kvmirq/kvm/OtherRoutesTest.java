/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.Errno;
import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.KernelException;
import io.kvmirq.MsiMessage;
import io.kvmirq.Route;
import io.kvmirq.VcpuId;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.Profile;
import io.kvmirq.kernel.Fd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Ownership;
import io.kvmirq.snapshot.VmParts;
import io.kvmirq.snapshot.VmSnapshot;
import io.kvmirq.testing.Kernels;
import io.kvmirq.testing.OnBothKernels;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.undo.Undo;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** Routes of Hyper-V and Xen, and of types that this library does not know. */
class OtherRoutesTest {
    private static final Gsi FIRST = new Gsi(24);
    private static final Gsi NEXT = new Gsi(25);
    private static final MsiMessage MESSAGE = MsiMessage.to(new VcpuId(0), new InterruptVector(0x31));
    private static final Route.Other SINT = Route.Other.hyperV(FIRST, 0, 2);

    private final Undo parts = new Undo();
    private Vm vm;
    private RouteTable routes;

    private void open(Kernels kernels) {
        open(kernels.open());
    }

    private void openWithHyperV() {
        open(new FakeKernel(Profile.V6_18).open());
        assertThat(vm.capability(Uapi.KVM_CAP_HYPERV_SYNIC)).isPositive();
    }

    private void open(Kernel kernel) {
        vm = parts.add(Vm.create(parts.add(kernel)));
        vm.x86().createIrqchip();
        routes = vm.routes();
    }

    @AfterEach
    void close() {
        parts.close();
    }

    @OnBothKernels
    void kernelWithoutHyperVIsNamed(Kernels kernels) {
        open(kernels);
        assumeTrue(vm.capability(Uapi.KVM_CAP_HYPERV_SYNIC) == 0, "this KVM has Hyper-V's SynIC");
        assertThatThrownBy(() -> routes.edit(edit -> edit.replace(SINT)))
                .isInstanceOf(UnsupportedOperationException.class)
                .hasMessage("gsi 24 to Hyper-V's synthetic interrupt [0, 2]: this kernel does not support such"
                        + " routes, as it reports by KVM_CAP_HYPERV_SYNIC");
        assertThat(routes.commits()).isZero();
    }

    @OnBothKernels
    void routeOfHyperVStaysWhenOthersChange(Kernels kernels) {
        open(kernels);
        if (vm.capability(Uapi.KVM_CAP_HYPERV_SYNIC) == 0) {
            parts.close();
            openWithHyperV(); // this KVM has none
        }
        routes.edit(edit -> edit.replace(SINT));
        assertThat(routes.add(MESSAGE)).isEqualTo(NEXT);
        assertThat(routes.of(FIRST)).containsExactly(SINT);
        routes.edit(edit -> edit.replace(SINT));
        assertThat(routes.commits()).isEqualTo(2);
        routes.edit(edit -> edit.replace(Route.Other.hyperV(FIRST, 0, 3)));
        assertThat(routes.commits()).isEqualTo(3);
        routes.replace(FIRST, MESSAGE);
        assertThat(routes.of(FIRST)).containsExactly(new Route.Msi(FIRST, MESSAGE));
        routes.edit(edit -> edit.replace(SINT));
        assertThat(routes.of(FIRST)).containsExactly(SINT);
        routes.remove(FIRST);
        assertThat(routes.of(FIRST)).isEmpty();
    }

    @OnBothKernels
    void routeOfXenNeedsAKernelWithIt(Kernels kernels) {
        open(kernels);
        Route.Other channel = Route.Other.xen(FIRST, 5, new VcpuId(0));
        Route.Other last = Route.Other.xen(FIRST, 4095, new VcpuId(0));
        assertThat(channel.words()).containsExactly(5, 0, -1);
        if ((vm.capability(Uapi.KVM_CAP_XEN_HVM) & Uapi.KVM_XEN_HVM_CONFIG_EVTCHN_2LEVEL) == 0) {
            assertThatThrownBy(() -> routes.edit(edit -> edit.replace(channel)))
                    .isInstanceOf(UnsupportedOperationException.class)
                    .hasMessageEndingWith("as it reports by KVM_CAP_XEN_HVM");
            assertThat(routes.of(FIRST)).isEmpty();
        } else {
            assertThatThrownBy(() -> routes.edit(edit -> edit.replace(last)))
                    .isInstanceOf(KernelException.class)
                    .hasMessageContaining("KVM_XEN_ATTR_TYPE_LONG_MODE");
            routes.edit(edit -> edit.replace(channel));
            assertThat(routes.of(FIRST)).containsExactly(channel);
        }
    }

    @OnBothKernels
    void typeThatTheKernelDoesNotHaveIsRefusedByIt(Kernels kernels) {
        open(kernels);
        Route.Other unknown = new Route.Other(FIRST, 99, 0, List.of(1, 2, 3));
        assertThatThrownBy(() -> routes.edit(edit -> edit.replace(unknown)))
                .isInstanceOfSatisfying(KernelException.class, refused -> assertThat(refused.errno())
                        .isEqualTo(Errno.EINVAL))
                .hasMessageContaining("an entry type that this kernel does not have");
        assertThat(routes.of(FIRST)).isEmpty();
        assertThat(routes.add(MESSAGE)).isEqualTo(FIRST);
    }

    @Test
    void snapshotKeepsIt() {
        openWithHyperV();
        vm.routes().edit(edit -> edit.replace(SINT));
        VmSnapshot saved = VmSnapshot.parse(VmSnapshot.take(new VmParts(vm)).text());
        try (Vm next = Vm.create(vm.kernel())) {
            next.x86().createIrqchip();
            saved.restore(new VmParts(next));
            assertThat(next.routes().of(FIRST)).containsExactly(SINT);
        }
    }

    @Test
    void adoptedVmKeepsIt() {
        openWithHyperV();
        try (Fd.Lease fd = vm.fd().lease();
                Vm adopted = Vm.adopt(vm.kernel(), fd.number(), Ownership.BORROWED, List.of(SINT), NEXT)) {
            assertThat(adopted.routes().add(MESSAGE)).isEqualTo(NEXT);
            assertThat(adopted.routes().of(FIRST)).containsExactly(SINT);
        }
    }

    @Test
    void wrongWordsAreOneSentence() {
        assertThatThrownBy(() -> new Route.Other(FIRST, 2, 0, List.of()))
                .hasMessage("a route of type 2 with 0 words: expected at most 7, and a type without a class of its own:"
                        + " Pin is 1, Msi is 2");
        List<Integer> many = Collections.nCopies(8, 0);
        assertThatThrownBy(() -> new Route.Other(FIRST, 6, 0, many)).hasMessageContaining("with 8 words");
        assertThatThrownBy(() -> new Route.Other(FIRST, 99, 0, Arrays.asList(1, null)))
                .hasMessage("words contains null: pass the words of the route");
        assertThatThrownBy(() -> Route.Other.hyperV(FIRST, 0, 16))
                .hasMessage("synthetic interrupt 16 of processor 0: expected 0 to 15 of a processor from 0 on");
        assertThatThrownBy(() -> Route.Other.xen(FIRST, 4096, new VcpuId(0)))
                .hasMessage("event channel 4096: expected a port from 0 to 4095");
    }
}
