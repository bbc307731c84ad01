/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import static io.kvmirq.kvm.MockedVm.VM;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.mockito.ArgumentMatchers.any;
import static org.mockito.ArgumentMatchers.anyInt;
import static org.mockito.ArgumentMatchers.eq;
import static org.mockito.Mockito.inOrder;
import static org.mockito.Mockito.never;
import static org.mockito.Mockito.verify;
import static org.mockito.Mockito.when;

import io.kvmirq.Errno;
import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.KernelException;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.kernel.EventFd;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.mockito.InOrder;

/** When the kernel's table is replaced, and when it is not. */
class RouteTableTest {
    /** 24 pins of the IOAPIC, 16 of the PICs: what the kernel has after KVM_CREATE_IRQCHIP. */
    private static final int DEFAULTS = 40;

    private static final MsiMessage MESSAGE = MsiMessage.to(new VcpuId(0), new InterruptVector(0x31));
    private static final Gsi FIRST = new Gsi(24);

    private final MockedVm mocked = new MockedVm();
    private final KernelBackend backend = mocked.backend;
    private final RouteTable routes = mocked.vm.routes();

    @Test
    void defaultRoutesAreNotWrittenAgain() {
        verify(backend, never()).routesSet(anyInt(), any(), anyInt());
    }

    @Test
    void eachChangeWritesTheWholeTableOnce() {
        routes.change(edit -> {
            edit.add(MESSAGE);
            return edit.add(MESSAGE);
        });
        routes.remove(FIRST);
        InOrder order = inOrder(backend);
        order.verify(backend).irqchipCreate(VM);
        order.verify(backend).routesSet(eq(VM), any(), eq(DEFAULTS + 2));
        order.verify(backend).routesSet(eq(VM), any(), eq(DEFAULTS + 1));
        order.verifyNoMoreInteractions();
    }

    @Test
    void changeThatChangesNothingAsksNothing() {
        routes.edit(edit -> edit.remove(FIRST));
        routes.edit(edit -> edit.remove(edit.add(MESSAGE)));
        verify(backend, never()).routesSet(anyInt(), any(), anyInt());
    }

    @Test
    void changeThatThrowsAsksNothing() {
        assertThatThrownBy(() -> routes.change(edit -> {
                    edit.add(MESSAGE);
                    throw new IllegalStateException("the VMM's own");
                }))
                .hasMessage("the VMM's own");
        verify(backend, never()).routesSet(anyInt(), any(), anyInt());
        assertThat(routes.add(MESSAGE)).isEqualTo(FIRST);
    }

    /** A refused route is not in the table that the next change writes. */
    @Test
    void refusedTableIsForgotten() {
        when(backend.routesSet(eq(VM), any(), anyInt())).thenReturn(-Errno.EINVAL.number(), 0);
        assertThatThrownBy(() -> routes.change(edit -> {
                    edit.add(MESSAGE);
                    return edit.add(MESSAGE);
                }))
                .isInstanceOf(KernelException.class);
        assertThat(routes.add(MESSAGE)).isEqualTo(FIRST);
        InOrder order = inOrder(backend);
        order.verify(backend).routesSet(eq(VM), any(), eq(DEFAULTS + 2));
        order.verify(backend).routesSet(eq(VM), any(), eq(DEFAULTS + 1));
        order.verifyNoMoreInteractions();
    }

    /** Not even the GSI of a pin that has lost its route. */
    @Test
    void messageGetsNoGsiOfAPin() {
        for (int pin : new int[] {0, 23}) {
            Gsi gsi = new Gsi(pin);
            Gsi added = routes.change(edit -> edit.remove(gsi).add(MESSAGE));
            assertThat(added).as("after removing %s", gsi).isEqualTo(FIRST);
            routes.remove(added);
        }
    }

    /** A VMM's change may wait for another thread, which takes down an irqfd. */
    @Test
    void noLockIsHeldWhileTheUsersChangeRuns() {
        Irqfd irqfd = mocked.vm.assignIrqfd(EventFd.create(mocked.kernel), FIRST);
        Gsi added = routes.change(edit -> {
            elsewhere(irqfd::close);
            elsewhere(() -> routes.routes());
            return edit.add(MESSAGE);
        });
        assertThat(added).isEqualTo(FIRST);
    }

    /** Neither change is lost, and each GSI is given once. */
    @Test
    void changeRunsAgainWhenAnotherThreadChangedTheTableMeanwhile() {
        List<Gsi> given = new ArrayList<>();
        Gsi added = routes.change(edit -> {
            if (given.isEmpty()) {
                elsewhere(() -> given.add(routes.add(MESSAGE)));
            }
            return edit.add(MESSAGE);
        });
        assertThat(given).containsExactly(FIRST);
        assertThat(added).isEqualTo(new Gsi(25));
        assertThat(routes.routes()).hasSize(DEFAULTS + 2);
        assertThat(routes.commits()).isEqualTo(2);
    }

    /** The edit rejects routes once its table is passed to the kernel. */
    @Test
    void editHasEndedWhenTheKernelIsTold() {
        RouteTable.Edit[] kept = new RouteTable.Edit[1];
        when(backend.routesSet(eq(VM), any(), anyInt())).thenAnswer(call -> {
            assertThatThrownBy(() -> kept[0].add(MESSAGE)).hasMessageContaining("has ended");
            return 0;
        });
        routes.change(edit -> {
            kept[0] = edit;
            return edit.add(MESSAGE);
        });
        assertThat(routes.commits()).isEqualTo(1);
    }

    @Test
    void changesOfManyThreadsAreAllKept() {
        int threads = 8;
        int each = 100;
        Set<Gsi> given = ConcurrentHashMap.newKeySet();
        List<CompletableFuture<Void>> running = IntStream.range(0, threads)
                .mapToObj(thread -> CompletableFuture.runAsync(() -> {
                    for (int i = 0; i < each; i++) {
                        given.add(routes.add(MESSAGE));
                    }
                }))
                .toList();
        running.forEach(CompletableFuture::join);
        assertThat(given).hasSize(threads * each);
        assertThat(routes.routes()).hasSize(DEFAULTS + threads * each);
    }

    private static void elsewhere(Runnable work) {
        try {
            Thread thread = new Thread(work);
            thread.start();
            thread.join();
            assertThat(thread.isAlive()).as("waits for a lock").isFalse();
        } catch (InterruptedException e) {
            throw new AssertionError(e);
        }
    }
}
