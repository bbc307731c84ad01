/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.amd;

import static io.kvmirq.arch.Description.always;
import static io.kvmirq.arch.Description.saying;

import io.kvmirq.arch.BitField;
import io.kvmirq.arch.Format;
import io.kvmirq.arch.Meaning;

/** Entries and base register of the GA log, in which the IOMMU reports requests for vCPUs that do not run. */
public final class GaLog {
    /** Entry: the GATag of the remapping entry, see {@link GaTag}. */
    public static final BitField TAG = new BitField("ga_tag", 0, 32, always("GATag", ""));

    /** Entry: the device's requester id. */
    public static final BitField DEVICE =
            new BitField("devid", 32, 16, saying("DeviceID", (value, bits) -> "requester " + Meaning.requester(value)));

    /** Entry: the type, 1 for a request to a vCPU that does not run. */
    public static final BitField TYPE = new BitField(
            "type",
            60,
            4,
            saying("EventCode", (value, bits) -> value == 1 ? "guest not running" : "unknown, not looked at"));

    /** Format {@code galog.entry} of {@code kvmirq decode}; Linux has macros: GA_TAG, GA_DEVID, GA_REQ_TYPE. */
    public static final Format ENTRY = Format.builder("galog.entry", "GA log entry", 64, 1)
            .fields(TAG, DEVICE, new BitField("rsvd_48_59", 48, 12, always("R", "reserved, not looked at")), TYPE)
            .build();

    /** Base register: the log address. */
    public static final BitField BASE =
            new BitField("base", 12, 40, always("GALogBase", "address").shifted(12));

    private static final int SHORTEST_LOG = 8;

    /** Base register: the log length as a code, 8–15, see {@link #ENTRIES}. Smaller codes are reserved. */
    public static final BitField LENGTH = new BitField(
            "len_code",
            56,
            4,
            always("GALogLen", "")
                    .forbidding(
                            code -> code < SHORTEST_LOG,
                            code -> "length code " + code + " is reserved: expected 8-15"));

    /** Base register: the log's number of entries, computed from the code in {@link #LENGTH}. */
    public static final BitField ENTRIES = new BitField(
            "entries",
            LENGTH.low(),
            LENGTH.width(),
            saying("", (value, bits) -> value + " entries")
                    .computed(code -> 2L << code)
                    .derived());

    /** Format {@code amd.galog.base} of {@code kvmirq decode}: the register 0xe0, set by iommu_ga_log_enable(). */
    public static final Format REGISTER = Format.builder("amd.galog.base", "GA log base register", 64, 1)
            .fields(BASE, LENGTH, ENTRIES)
            .fields(BitField.reserved("rsvd_0_11", 0, 12).ordinarily(0))
            .fields(BitField.reserved("rsvd_52_55", 52, 4).ordinarily(0))
            .fields(BitField.reserved("rsvd_60_63", 60, 4).ordinarily(0))
            .build();

    private GaLog() {}
}
