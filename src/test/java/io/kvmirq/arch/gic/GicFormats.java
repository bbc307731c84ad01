/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic;

import io.kvmirq.arch.Format;
import java.util.List;

/** All formats of this package. */
final class GicFormats {
    static final List<Format> ALL = List.of(
            ListRegister.FORMAT,
            IchListRegister.FORMAT,
            HypervisorControl.GICH,
            HypervisorControl.ICH,
            MachineControl.GICH,
            MachineControl.ICH,
            Maintenance.STATUS,
            Maintenance.ICH_STATUS,
            Maintenance.ENDED,
            Maintenance.ICH_ENDED,
            Maintenance.EMPTY,
            Maintenance.ICH_EMPTY,
            VgicType.GICH,
            VgicType.ICH);

    private GicFormats() {}

    static Format of(String kind) {
        return ALL.stream()
                .filter(format -> format.kind().equals(kind))
                .findFirst()
                .orElseThrow();
    }
}
