/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.backend.Buffers;
import io.kvmirq.fake.Profile;
import io.kvmirq.uapi.Uapi;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The bytes of an ioctl's argument that a recorder keeps: addresses of the process are not on the tape. */
class ArgumentsTest {
    private static final int NOT_OPEN = 99;
    private static final Pattern IN = Pattern.compile("\"in\":\"([0-9a-f]*)\"");

    /** The line of one ioctl, made on a descriptor that is not open. */
    private static String line(long request, ByteBuffer argument) throws IOException {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        try (Recorder recorder = Recorder.of(Recordings.fake(Profile.V6_18), out)) {
            assertThat(recorder.libc().ioctl(NOT_OPEN, request, argument)).isNegative();
        }
        List<String> lines = out.toString(StandardCharsets.UTF_8).lines().toList();
        return lines.get(1);
    }

    @ParameterizedTest
    @CsvSource({
        "VFIO_IOMMU_MAP_DMA,            0x3b71,       8,     32",
        "VFIO_IOMMU_UNMAP_DMA,          0x3b72,       40,    48",
        "VFIO_IOMMU_DIRTY_PAGES,        0x3b75,       40,    48",
        "VFIO_DEVICE_BIND_IOMMUFD,      0x3b76,       16,    24",
        "IOMMU_IOAS_ALLOW_IOVAS,        0x3b82,       16,    24",
        "IOMMU_IOAS_IOVA_RANGES,        0x3b84,       16,    32",
        "IOMMU_IOAS_MAP,                0x3b85,       16,    40",
        "IOMMU_HWPT_ALLOC,              0x3b89,       32,    48",
        "IOMMU_GET_HW_INFO,             0x3b8a,       16,    40",
        "IOMMU_HWPT_GET_DIRTY_BITMAP,   0x3b8c,       40,    48",
        "IOMMU_HWPT_INVALIDATE,         0x3b8d,       8,     32",
        "IOMMU_VIOMMU_ALLOC,            0x3b90,       32,    40",
        "KVM_XEN_HVM_CONFIG,            0x4038ae7a,   8 16,  56",
    })
    void addressOfTheProcessIsMasked(String name, long request, String offsets, int size) throws IOException {
        ByteBuffer argument = Buffers.allocate(size);
        for (int i = 0; i < size; i++) {
            argument.put(i, (byte) 0x11);
        }
        if ((request & 0xff00) == 0x3b00) {
            argument.putInt(0, size);
        }
        byte[] expected = new byte[size];
        argument.get(0, expected);
        for (String offset : offsets.split(" ", -1)) {
            ByteBuffer.wrap(expected).putLong(Integer.parseInt(offset), 0);
        }
        Matcher in = IN.matcher(line(request, argument));
        assertThat(in.find()).isTrue();
        assertThat(in.group(1)).as(name).isEqualTo(HexFormat.of().formatHex(expected));
    }

    /** _IO, so without a size in its number; its argument is a pointer to 32 bytes. */
    @Test
    void structureOfReinjectControlIsNoNumber() throws IOException {
        String line = line(Uapi.KVM_REINJECT_CONTROL, Buffers.allocate(32).put(0, (byte) 1));
        assertThat(line).contains("\"value\":0,\"in\":\"01" + "00".repeat(31) + "\"");
    }
}
