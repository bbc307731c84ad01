/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Predicts, from the steps of their set-up, how a VM's device interrupts are delivered.
 *
 * <p>A {@link io.kvmirq.mirror.Mirror} gets one {@link io.kvmirq.mirror.Event} for each control plane step, such as a
 * new vCPU, a commit of routes, a new irqfd, or an eventfd for a device vector. From these it computes an immutable
 * {@link io.kvmirq.mirror.Snapshot}. As in the kernel's irqbypass, an eventfd connects an interrupt's two ends: the
 * {@link io.kvmirq.mirror.Producer} is a device vector, the {@link io.kvmirq.mirror.Consumer} an irqfd. For each
 * eventfd, the snapshot has a {@link io.kvmirq.mirror.PredictedIrq}, which {@code X86Rules} or {@code ArmRules}
 * computes.
 *
 * <p>A {@code Forwarding} also reports each message that it holds back from the guest or releases, and whether the
 * message is known to exist. {@link io.kvmirq.mirror.Snapshot#held} returns this. No event reports a device's signal.
 *
 * <p>Predictions and observations have separate types. The mirror does not read files, and uses neither a kernel nor a
 * hardware model. It applies the rules of {@link io.kvmirq.arch} to the hardware that its {@link
 * io.kvmirq.mirror.MirrorHost} describes. A prediction omits facts that a VMM cannot know, such as a descriptor's
 * address and KVM's VM id.
 *
 * <p>Some predicted fields depend on a vCPU's schedule: an entry's IsRun and Destination, PID.SN, PID.NV and PID.NDST.
 * A tracer reports the schedule in events. For a vCPU that this process runs, the mirror reads a {@link
 * io.kvmirq.mirror.VcpuPhase} at each query and before each event, so these fields are unknown while the vCPU is in
 * KVM_RUN, and known after its return. The logical ids that a guest assigns to its LAPICs are known only from a {@link
 * io.kvmirq.mirror.LapicSample}, which can be old: {@link io.kvmirq.mirror.LapicSample#taken} is the time at which it
 * was taken.
 *
 * <p>An event's cost is proportional to the number of predictions that it affects. Other predictions are shared with
 * earlier snapshots. The first {@link io.kvmirq.mirror.Mirror#now} after an event copies one reference to each
 * interrupt's prediction. {@link io.kvmirq.mirror.Mirror#irq} copies nothing.
 */
@NullMarked
package io.kvmirq.mirror;

import org.jspecify.annotations.NullMarked;
