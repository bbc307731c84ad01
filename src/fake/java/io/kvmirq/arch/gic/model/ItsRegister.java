/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic.model;

import java.util.Arrays;
import java.util.Optional;

/** The registers of an ITS, at offsets in bytes. Source: ARM IHI 0069, "The ITS register map"; vgic-its.c. */
public enum ItsRegister {
    GITS_CTLR(EmulatedIts.CTLR, 4),
    GITS_IIDR(EmulatedIts.IIDR, 4),
    GITS_TYPER(EmulatedIts.TYPER, 8),
    GITS_CBASER(EmulatedIts.CBASER, 8),
    GITS_CWRITER(EmulatedIts.CWRITER, 8),
    GITS_CREADR(EmulatedIts.CREADR, 8),
    /** The eight registers GITS_BASER0 to 7 for tables; KVM implements two. */
    GITS_BASER(EmulatedIts.BASER_DEVICES, 64),
    GITS_IDREGS(0xffd0, 48);

    private final int offset;
    private final int length;

    ItsRegister(int offset, int length) {
        this.offset = offset;
        this.length = length;
    }

    public static Optional<ItsRegister> at(long at) {
        return Arrays.stream(values())
                .filter(register -> at >= register.offset && at < register.offset + register.length)
                .findFirst();
    }

    /** Returns the access size at an offset, 4 or 8 bytes; in a gap, the size of the surrounding registers. */
    public static int width(long at) {
        boolean narrow =
                Long.compareUnsigned(at, GITS_TYPER.offset) < 0 || Long.compareUnsigned(at, GITS_IDREGS.offset) >= 0;
        return narrow ? Integer.BYTES : Long.BYTES;
    }
}
