/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic.model;

import static io.kvmirq.arch.gic.model.InterruptState.ENABLED;
import static io.kvmirq.arch.gic.model.InterruptState.LEVEL;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.arch.vcpu.HostCpus;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;

/** vCPU 0 is loaded on CPU 0, vCPU 1 on CPU 1. SPIs 32 and 33 are edge-triggered, 34 and 35 level-triggered. */
abstract class VgicSetUp {
    static final long PENDING = 1L << 28;
    static final long ACTIVE_BIT = 1L << 29;
    static final long EOI = 1L << 19;
    static final long HW = 1L << 31;

    final List<Integer> deactivated = new ArrayList<>();
    final HostCpus host = new HostCpus(0, 1);
    final VgicVm vm;
    final Distributor gic;
    final VgicVcpu vcpu;
    final VgicVcpu other;
    final VirtualInterface registers;
    final GuestCpuInterface guest;

    /** @param listRegisters of each vCPU */
    VgicSetUp(int listRegisters) {
        vm = new VgicVm(host, 2, 32, listRegisters, deactivated::add);
        gic = vm.distributor();
        vcpu = vm.vcpu(0);
        other = vm.vcpu(1);
        registers = vcpu.registers();
        guest = vcpu.guest();
    }

    @BeforeEach
    void load() {
        gic.set(LEVEL, 0, 32, 0xc);
        gic.set(ENABLED, 0, 32, 0xf);
        gic.set(ENABLED, 0, 0, -1);
        gic.set(ENABLED, 1, 0, -1);
        vcpu.thread().load(0);
        other.thread().load(1);
    }

    void enter() {
        assertThat(vcpu.thread().enter()).isTrue();
    }

    void raiseAndEnter(int interrupt) {
        gic.raise(0, interrupt);
        enter();
    }

    void exitAndEnter() {
        vcpu.thread().exit();
        enter();
    }

    void raiseAndAcknowledge(int interrupt) {
        raiseAndEnter(interrupt);
        guest.acknowledge();
    }

    /** KVM restores vCPU 0, whose guest has taken an interrupt of priority 0. */
    void restoreActive(long listRegister) {
        registers.setListRegister(0, listRegister);
        registers.setActivePriorities(1);
    }

    void exitAndMaintain() {
        vcpu.thread().exit();
        host.cpu(0).takeInterrupt();
    }

    boolean guestSleeps() {
        return vcpu.thread().block(true);
    }
}
