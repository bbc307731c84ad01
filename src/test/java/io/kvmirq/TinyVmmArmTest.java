/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.fake.FakeProvider;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.TinyVmm;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The example src/examples/tiny-vmm on arm64: its device tree, and its sentences for a guest that it cannot begin. */
class TinyVmmArmTest {
    private static final int IMAGE = 0x2000;
    private static final int MIB = 1 << 20;

    @TempDir
    private Path directory;

    @BeforeEach
    void fakeIsArm64() {
        System.setProperty(FakeProvider.PROFILE, "6.12,arm64");
    }

    @AfterEach
    void fakeIsX86() {
        System.clearProperty(FakeProvider.PROFILE);
    }

    // The device tree

    /** The source that dtc makes of it again; dtc tells on its standard error of what is wrong. */
    private String decompiled(String commandLine, int vcpus) throws Exception {
        Path tree = Files.write(directory.resolve("tree"), TinyVmm.deviceTree(commandLine, vcpus));
        Path wrong = directory.resolve("wrong");
        Machine.assumeProgram("dtc"); // scripts/bootstrap --lab installs it
        Process dtc = new ProcessBuilder("dtc", "-I", "dtb", "-O", "dts", tree.toString())
                .redirectError(wrong.toFile())
                .start();
        String source = new String(dtc.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertThat(wrong).hasContent("");
        assertThat(dtc.waitFor()).isZero();
        return source.replaceAll("\\s+", " ");
    }

    @Test
    void dtcReadsTheDeviceTree() throws Exception {
        assertThat(decompiled("quiet a=\"1 2\"", 2))
                .contains("bootargs = \"quiet a=\\\"1 2\\\"\";")
                .contains("linux,initrd-start = <0x4ffff000>; linux,initrd-end = <0x50000000>;")
                .contains("memory@40000000 { device_type = \"memory\"; reg = <0x40000000 0x10000000>; };")
                .contains("cpu@0 { device_type = \"cpu\";", "reg = <0x00>; };")
                .contains("cpu@1 { device_type = \"cpu\";", "reg = <0x01>; };")
                .contains("psci { compatible = \"arm,psci-1.0\\0arm,psci-0.2\"; method = \"hvc\"; };")
                .contains("interrupts = <0x01 0x0d 0x04 0x01 0x0e 0x04 0x01 0x0b 0x04 0x01 0x0a 0x04>;")
                .contains("reg = <0x8000000 0x10000 0x80a0000 0x200000>; msi-controller@8080000 {")
                .contains("msi-map = <0x00 0x02 0x00 0x10000>;")
                .contains("interrupt-map = <0x800 0x00 0x00 0x01 0x01 0x00 0x00 0x08 0x04 0x1000 ")
                .contains("0x4000 0x00 0x00 0x01 0x01 0x00 0x00 0x0f 0x04>;")
                .contains("reg = <0x9010000 0x08>; interrupts = <0x00 0x02 0x01>;");
    }

    @Test
    void deviceTreeHasEachVcpu() throws Exception {
        assertThat(decompiled("", 16).split("enable-method = \"psci\"")).hasSize(17);
        assertThat(decompiled("", 16)).contains("cpu@f {", "reg = <0x0f>;");
    }

    // Bad input: one sentence, and the status 2

    private TinyVmm.Ended run(String... arguments) throws Exception {
        List<String> all = new ArrayList<>(List.of("--backend", "fake"));
        all.addAll(Arrays.asList(arguments));
        return TinyVmm.run(OutputStream.nullOutputStream(), InputStream.nullInputStream(), all.toArray(String[]::new));
    }

    private void assertRefused(String sentence, String... arguments) throws Exception {
        TinyVmm.Ended ended = run(arguments);
        assertThat(ended.out()).isEqualTo("tiny-vmm: " + sentence + "\n");
        assertThat(ended.status()).isEqualTo(2);
    }

    /** A header of a kernel of 16 MiB, at the start of memory. */
    private static ByteBuffer image() {
        ByteBuffer image = ByteBuffer.allocate(IMAGE).order(ByteOrder.LITTLE_ENDIAN);
        return image.putLong(16, 16 * MIB).putInt(56, 0x644d5241);
    }

    private String file(ByteBuffer content) throws Exception {
        return Files.write(directory.resolve("image"), content.array()).toString();
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', textBlock = """
                    0   | 0x00088b1f | at 0x38 is 0x0; it is compressed (gzip): decompress it
                    0   | 0xfd2fb528 | at 0x38 is 0x0; it is compressed (zstd): decompress it
                    0   | 0x587a37fd | at 0x38 is 0x0; it is compressed (xz): decompress it
                    4   | 0x676d697a | at 0x38 is 0x0; it is compressed (EFI's vmlinuz.efi): decompress it
                    514 | 0x53726448 | at 0x38 is 0x0; it is a kernel for x86
                    56  | 0x464c457f | at 0x38 is 0x464c457f
                    """)
    void otherFileIsRefused(int at, String word, String sentence) throws Exception {
        ByteBuffer other = image().putInt(56, 0)
                .putShort(0x1fe, (short) 0xaa55)
                .putInt(at, Long.decode(word).intValue());
        String file = file(other);
        assertRefused(file + " is no Image for arm64: " + sentence, "--kernel", file);
    }

    @Test
    void emptyFileIsRefused() throws Exception {
        String file = file(ByteBuffer.allocate(0));
        assertRefused(file + " is no Image for arm64: at 0x38 is 0x0", "--kernel", file);
    }

    /** An x86 host. */
    @Test
    void imageOfArm64IsRefusedOnX86() throws Exception {
        System.setProperty(FakeProvider.PROFILE, "6.12");
        String file = file(image());
        assertRefused(
                file + " is no bzImage: at 0x202 is 0x0, expected 0x53726448 (HdrS); it is a kernel for arm64",
                "--kernel",
                file);
    }

    @Test
    void kernelThatDoesNotFitIsRefused() throws Exception {
        String file = file(image());
        assertRefused(
                "the kernel needs 0x1000000 bytes of memory, and has 0xf00000: see --memory",
                "--kernel",
                file,
                "--memory",
                "15");
        assertRefused(
                "the kernel needs 0x7f000000 bytes of memory, and has 0x10000000: see --memory",
                "--kernel",
                file(image().putLong(8, 0x7e00_0000L)));
    }

    /** It is behind the kernel, at a multiple of 2 MiB. */
    @Test
    void deviceTreeThatDoesNotFitIsRefused() throws Exception {
        TinyVmm.Ended ended = run("--kernel", file(image()), "--memory", "16");
        assertThat(ended.out())
                .matches("tiny-vmm: the device tree has \\d{4} bytes, the initramfs 0, and 0 are free: see --memory\n");
        assertThat(ended.status()).isEqualTo(2);
    }

    @Test
    void initramfsThatDoesNotFitIsRefused() throws Exception {
        Path initramfs = Files.write(directory.resolve("initramfs"), new byte[MIB]);
        TinyVmm.Ended ended = run("--kernel", file(image()), "--initramfs", initramfs.toString(), "--memory", "17");
        assertThat(ended.out())
                .matches("tiny-vmm: the device tree has \\d{4} bytes, the initramfs 1048576, and 1048576 are free:"
                        + " see --memory\n");
        assertThat(ended.status()).isEqualTo(2);
    }

    @Test
    void commandLineThatIsTooLongIsRefused() throws Exception {
        assertRefused(
                "the command line has 2079 letters, at most 2047",
                "--kernel",
                file(image()),
                "--append",
                "x".repeat(2049));
    }

    @Test
    void smallGuestIsOfX86() throws Exception {
        assertRefused("the small guest has code of x86: name a kernel for arm64 by --kernel");
    }

    @Test
    void irqchipOfArm64IsWhole() throws Exception {
        assertRefused("--irqchip split: on arm64 KVM has the whole GIC", "--irqchip", "split");
    }

    @Test
    void hostWithoutGicV3IsRefused() throws Exception {
        System.setProperty(FakeProvider.PROFILE, "6.12,arm64,gicv2");
        TinyVmm.Ended ended = run("--kernel", file(image()));
        assertThat(ended.out()).startsWith("tiny-vmm: ").contains("ENODEV").hasLineCount(1);
        assertThat(ended.status()).isEqualTo(2);
    }

    @Test
    void fakeRunsNoCodeOfArm64() throws Exception {
        TinyVmm.Ended ended = run("--kernel", file(image()));
        assertThat(ended.out()).contains("the fake kernel");
        assertThat(ended.status()).isEqualTo(1);
    }
}
