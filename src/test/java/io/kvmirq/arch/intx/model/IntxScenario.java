/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.intx.model;

import io.kvmirq.arch.intx.model.IntxDevice.Kind;
import io.kvmirq.explorer.Scenario;
import io.kvmirq.explorer.Space;
import java.util.function.Function;

/** Who acts. The device requests at any time; the guest serves it and ends the interrupt. */
public enum IntxScenario implements Scenario<IntxVariant> {
    ONE(
            "two requests; the vCPU halts, and may end an interrupt before it serves the device",
            variant ->
                    new IntxSpace(variant, Kind.PCI_2_3).requests(2).endsFirst().halts()),
    USER(
            "the same, without a halt; a user masks and unmasks",
            variant ->
                    new IntxSpace(variant, Kind.PCI_2_3).requests(2).endsFirst().masks()),
    DISINTX(
            "another vCPU sets and clears DisINTx",
            variant ->
                    new IntxSpace(variant, Kind.PCI_2_3).requests(1).endsFirst().writesDisIntx()),
    CONTROLLER(
            "a device without DisINTx; a user masks and unmasks",
            variant -> new IntxSpace(variant, Kind.PCI).requests(2).masks()),
    MESSAGES(
            "a user changes to MSI and back to INTx",
            variant -> new IntxSpace(variant, Kind.PCI_2_3).requests(1).changesMode()),
    SHARED("another VM shares the line; the vCPU never runs", variant -> new IntxSpace(variant, Kind.PCI_2_3)
            .requests(1)
            .directIfVariantSays()
            .sharedWithAnother()
            .neverRuns()),
    GONE("direct EOI on a shared line; the VM ends before its EOI", variant -> new IntxSpace(variant, Kind.PCI_2_3)
            .requests(1)
            .direct()
            .sharedWithAnother()
            .neverRuns()
            .ends()),
    DIRECT(
            "direct EOI; a user masks and unmasks",
            variant -> new IntxSpace(variant, Kind.PCI_2_3).requests(1).direct().masks()),
    DIRECT_DISINTX(
            "direct EOI; another vCPU sets and clears DisINTx",
            variant -> new IntxSpace(variant, Kind.PCI_2_3).requests(1).direct().writesDisIntx()),
    DIRECT_MESSAGES(
            "direct EOI; a user changes to MSI and back",
            variant -> new IntxSpace(variant, Kind.PCI_2_3).requests(1).direct().changesMode()),
    SWITCH(
            "a user chooses direct EOI, then the automatic mask",
            variant -> new IntxSpace(variant, Kind.PCI_2_3).requests(2).switches()),
    CONTROLLER_MESSAGES(
            "a device without DisINTx; a user masks and unmasks, another changes to MSI and back",
            variant -> new IntxSpace(variant, Kind.PCI).requests(1).masks().changesMode()),
    GONE_RUNNING("another handler has the line; the VM runs and ends", variant -> new IntxSpace(variant, Kind.PCI_2_3)
            .requests(2)
            .sharedWithAnIdleOne()
            .ends()),
    SWITCH_CLOSE(
            "a user chooses direct EOI, then the automatic mask, on a shared line; the VM ends before its EOI",
            variant -> new IntxSpace(variant, Kind.PCI_2_3)
                    .requests(1)
                    .sharedWithAnother()
                    .neverRuns()
                    .switches()
                    .ends()),
    TRIGGER(
            "a user replaces the trigger",
            variant -> new IntxSpace(variant, Kind.PCI_2_3).requests(2).replacesTheTrigger()),
    PLATFORM(
            "a platform device; a user masks and unmasks",
            variant -> new IntxSpace(variant, Kind.PLATFORM).requests(2).masks()),
    PLATFORM_TRIGGER(
            "a platform device; a user removes the trigger and sets it again",
            variant -> new IntxSpace(variant, Kind.PLATFORM).requests(2).removesTheTrigger()),
    PLATFORM_DIRECT(
            "a platform device with direct EOI; a user interrupts the guest by a loopback",
            variant ->
                    new IntxSpace(variant, Kind.PLATFORM).requests(1).direct().loopsBack()),
    TWO_DIRECT("two devices with direct EOI on a line; the vCPU of one never runs", variant -> new IntxSpace(
                    variant, Kind.PCI_2_3)
            .requests(1)
            .direct()
            .sharedWithADirectOne()
            .neverRuns()),
    DESTROYED(
            "direct EOI on a shared line; the guest's pin is torn down, then the device is closed",
            variant -> new IntxSpace(variant, Kind.PCI_2_3)
                    .requests(1)
                    .direct()
                    .sharedWithAnother()
                    .neverRuns()
                    .endsWithItsPin()),
    ANOTHER_VM(
            "a user changes to MSI and back to INTx; another VM enables INTx of its device on the line",
            variant -> new IntxSpace(variant, Kind.PCI_2_3)
                    .requests(0)
                    .changesMode()
                    .joinedByAnother());

    @SuppressWarnings("ImmutableEnumChecker") // No function of these has a state.
    private final Story<IntxVariant> story;

    IntxScenario(String text, Function<IntxVariant, Space> space) {
        this.story = new Story<>(text, space);
    }

    @Override
    public Story<IntxVariant> story() {
        return story;
    }
}
