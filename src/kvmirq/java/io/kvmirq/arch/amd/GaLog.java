/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.amd;

import static io.kvmirq.arch.Description.always;
import static io.kvmirq.arch.Description.saying;

import io.kvmirq.arch.BitField;
import io.kvmirq.arch.Format;
import io.kvmirq.arch.Meaning;

/** The entries and base register of the GA log, where the IOMMU reports interrupts for vCPUs that are not running. */
public final class GaLog {
    /** Entry: the remapping entry's {@link GaTag}. */
    public static final BitField TAG = new BitField("ga_tag", 0, 32, always("GATag", ""));

    /** Entry: the device's requester id. */
    public static final BitField DEVICE =
            new BitField("devid", 32, 16, saying("DeviceID", (value, bits) -> "requester " + Meaning.requester(value)));

    /** Entry: the type, 1 for an interrupt to a vCPU that is not running. */
    public static final BitField TYPE = new BitField(
            "type",
            60,
            4,
            saying("EventCode", (value, bits) -> value == 1 ? "guest not running" : "unknown, not looked at"));

    /** The {@code kvmirq decode} format {@code galog.entry}. Linux's macros are GA_TAG, GA_DEVID and GA_REQ_TYPE. */
    public static final Format ENTRY = Format.builder("galog.entry", "GA log entry", 64, 1)
            .fields(TAG, DEVICE, new BitField("rsvd_48_59", 48, 12, always("R", "reserved, not looked at")), TYPE)
            .build();

    /** Base register: the log address. */
    public static final BitField BASE =
            new BitField("base", 12, 40, always("GALogBase", "address").shifted(12));

    private static final int SHORTEST_LOG = 8;

    /** Base register: the length code, 8–15, which {@link #ENTRIES} decodes. Smaller codes are reserved. */
    public static final BitField LENGTH = new BitField(
            "len_code",
            56,
            4,
            always("GALogLen", "")
                    .forbidding(
                            code -> code < SHORTEST_LOG,
                            code -> "length code " + code + " is reserved: expected 8-15"));

    /** Base register: the number of log entries, computed from {@link #LENGTH}. */
    public static final BitField ENTRIES = new BitField(
            "entries",
            LENGTH.low(),
            LENGTH.width(),
            saying("", (value, bits) -> value + " entries")
                    .computed(code -> 2L << code)
                    .derived());

    /** The {@code kvmirq decode} format {@code amd.galog.base}, for register 0xe0, which iommu_ga_log_enable() sets. */
    public static final Format REGISTER = Format.builder("amd.galog.base", "GA log base register", 64, 1)
            .fields(BASE, LENGTH, ENTRIES)
            .fields(BitField.reserved("rsvd_0_11", 0, 12).ordinarily(0))
            .fields(BitField.reserved("rsvd_52_55", 52, 4).ordinarily(0))
            .fields(BitField.reserved("rsvd_60_63", 60, 4).ordinarily(0))
            .build();

    private GaLog() {}
}
