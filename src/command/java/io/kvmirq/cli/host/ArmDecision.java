/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import io.kvmirq.arch.apic.PostingObstacle;
import io.kvmirq.arch.gic.VlpiKernel;
import io.kvmirq.arch.gic.VlpiObstacle;
import io.kvmirq.cli.frame.Command;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.PostingOutlook;
import java.util.Arrays;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/**
 * Whether KVM on arm64 maps a device's message to a vLPI.
 *
 * @param kernel the host's
 * @param vlpi empty if the host does not show it
 * @param reason the name of the obstacle; empty if it is a vLPI or not known
 * @param text why
 * @param remedy what to do; empty if it is a vLPI
 */
record ArmDecision(String kernel, Optional<Boolean> vlpi, String reason, String text, String remedy) {
    /** The obstacles before the ITS, and those of both architectures, in the order of KVM's checks. */
    private static final Map<MissingPart, PostingObstacle> OF_PATH = Map.of(
            MissingPart.PRODUCER, PostingObstacle.NO_PRODUCER,
            MissingPart.CONSUMER, PostingObstacle.NO_CONSUMER,
            MissingPart.OWN_EVENTFD, PostingObstacle.EVENTFD_TAKEN,
            MissingPart.ROUTE, PostingObstacle.NOT_ONE_MESSAGE);

    /** @throws IllegalArgumentException if {@code --without} names a part that arm64 does not have */
    static ArmDecision fromHost(HostFacts host, Set<MissingPart> missing) {
        missing.stream().filter(MissingPart::isOfX86).findFirst().ifPresent(part -> {
            throw new IllegalArgumentException("--without " + part + " is for x86 hosts only");
        });
        String kernel = host.kernel().orElse("?");
        Optional<Boolean> gicv4 = host.posting().gicv4();
        if (gicv4.filter(used -> !used).isPresent()) {
            return not(kernel, VlpiObstacle.NO_GICV4);
        }
        Optional<PostingObstacle> ofPath = Arrays.stream(MissingPart.values())
                .filter(missing::contains)
                .flatMap(part -> Optional.ofNullable(OF_PATH.get(part)).stream())
                .findFirst();
        if (ofPath.isPresent()) {
            PostingObstacle row = ofPath.get();
            return new ArmDecision(kernel, Optional.of(false), Command.label(row), row.text(), row.remedy());
        }
        boolean taken = host.posting()
                .vlpiKernel()
                .filter(VlpiKernel.BY_HOST_IRQ::equals)
                .isPresent();
        Optional<VlpiObstacle> ofIts = missing.stream()
                .flatMap(part -> part.vlpi().stream())
                .filter(row -> row != VlpiObstacle.TAKEN || taken)
                .findFirst();
        if (ofIts.isPresent()) {
            return not(kernel, ofIts.get());
        }
        PostingOutlook outlook = PostingOutlook.fromHost(host);
        return new ArmDecision(
                kernel, gicv4, "", outlook.text(), outlook.remedy().orElse(""));
    }

    private static ArmDecision not(String kernel, VlpiObstacle row) {
        return new ArmDecision(kernel, Optional.of(false), Command.label(row), row.text(), row.remedy());
    }
}
