/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import io.kvmirq.cli.frame.Json;
import io.kvmirq.diag.Chain;
import io.kvmirq.diag.Claim;
import io.kvmirq.diag.Evidence;
import io.kvmirq.diag.Hop;
import io.kvmirq.diag.Link;
import io.kvmirq.diag.Remedy;
import io.kvmirq.diag.Sources;
import java.util.List;
import java.util.Optional;

/** Prints chains and the other interrupts of a guest as JSON. */
final class ExplainJson {
    private ExplainJson() {}

    /** The interrupts of a guest that do not come from a VFIO device. */
    static void write(Json json, Sources sources) {
        json.text("guest", sources.guest())
                .flag("virtio", sources.virtio())
                .objects("links", List.of(sources.vmm()), ExplainJson::write)
                .objects("rows", sources.rows(), (to, row) -> to.text("name", row.name())
                        .text("text", row.text())
                        .text("from", row.evidence().map(Evidence::from))
                        .objects("remedies", row.remedies(), DoctorJson::write));
    }

    static void write(Json json, Chain chain) {
        json.text("device", chain.device())
                .text("interrupt", chain.interrupt())
                .text("guest", chain.guest())
                .objects("links", chain.links(), ExplainJson::write)
                .objects("posting", chain.claims(), ExplainJson::write)
                .texts("remarks", chain.remarks())
                .text("fails", chain.fails().map(Hop::label));
    }

    private static void write(Json json, Link link) {
        json.text("hop", link.hop().label())
                .text("state", link.state().label())
                .text("value", link.value())
                .text("text", link.text());
        write(json, link.evidence(), link.remedies());
    }

    private static void write(Json json, Claim claim) {
        json.text("question", claim.question().label());
        claim.holds().ifPresentOrElse(holds -> json.flag("holds", holds), () -> json.none("holds"));
        json.text("text", claim.text());
        write(json, claim.evidence(), claim.remedies());
    }

    private static void write(Json json, Optional<Evidence> evidence, List<Remedy> remedies) {
        json.text("evidence", evidence.map(one -> one.kind().label()))
                .text("from", evidence.map(Evidence::from))
                .objects("remedies", remedies, DoctorJson::write);
    }
}
