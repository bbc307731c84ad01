/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.testing.Machine;
import io.kvmirq.testing.RealKvm;
import io.kvmirq.testing.TinyVmm;
import java.io.ByteArrayInputStream;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The example src/examples/tiny-vmm with its small guest, and what it says of a guest that it cannot begin. */
class TinyVmmTest {
    private static final int IMAGE = 0x2000;
    private static final int HEADER_MAGIC = 0x202;
    private static final int VERSION = 0x206;
    private static final int START = 0x1000000;

    @TempDir
    private Path directory;

    private static TinyVmm.Ended run(String... arguments) throws Exception {
        return TinyVmm.run(OutputStream.nullOutputStream(), InputStream.nullInputStream(), arguments);
    }

    private static void assertAnswers(String backend, String irqchip) throws Exception {
        TinyVmm.Ended ended = run("--backend", backend, "--irqchip", irqchip, "--interrupts", "300");
        assertThat(ended.out())
                .isEqualTo("hello from 16 bits\n"
                        + "tiny-vmm: the guest has answered; 300 interrupts sent, 300 answered, 0 lost\n");
        assertThat(ended.status()).isZero();
    }

    @ParameterizedTest
    @ValueSource(strings = {"full", "split"})
    void smallGuestAnswersOnTheFake(String irqchip) throws Exception {
        assertAnswers("fake", irqchip);
    }

    @Test
    @RealKvm(fullIrqchip = true)
    void smallGuestAnswersOnKvm() throws Exception {
        assertAnswers("auto", "full");
    }

    @Test
    @RealKvm
    void smallGuestAnswersOnKvmWithSplitIrqchip() throws Exception {
        assertAnswers("auto", "split");
    }

    /** The console takes what is typed, for which this guest has no use. */
    @Test
    void consoleIsTypedInto() throws Exception {
        TinyVmm.Ended ended = TinyVmm.run(
                OutputStream.nullOutputStream(),
                new ByteArrayInputStream(new byte[] {'a', 'b'}),
                "--backend",
                "fake",
                "--vcpus",
                "1");
        assertThat(ended.status()).isZero();
    }

    /** At most so many lines, also to be read as a tutorial. */
    @Test
    void exampleIsTiny() throws Exception {
        long lines = 0;
        try (var files = Files.list(Machine.root().resolve("src/examples/tiny-vmm"))) {
            for (Path file : files.toList()) {
                List<String> text = Files.readAllLines(file);
                assertThat(text).as(file + ": raw calls").noneMatch(line -> line.contains("uapi"));
                lines += text.size();
            }
        }
        assertThat(lines).isBetween(1L, 1549L);
    }

    // Bad input: one sentence, and the status 2

    private void assertRefused(String sentence, String... arguments) throws Exception {
        List<String> all = new ArrayList<>(List.of("--backend", "fake"));
        all.addAll(Arrays.asList(arguments));
        TinyVmm.Ended ended = run(all.toArray(String[]::new));
        assertThat(ended.out()).isEqualTo("tiny-vmm: " + sentence + "\n");
        assertThat(ended.status()).isEqualTo(2);
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', textBlock = """
                    --vcpus    | 0     | --vcpus 0: expected 1 to 16
                    --memory   | much  | --memory much: expected 2 to 3072
                    --memory   | 4096  | --memory 4096: expected 2 to 3072
                    --backend  | real  | backend 'real' is unknown: expected one of auto, jni, ffm, jna, jnr, fake
                    --kernel   | /none | cannot read java.nio.file.NoSuchFileException: /none
                    --bzImage  | /none | '--bzImage' is no option with a value: expected [--append, --backend, \
                    --boots, --device, --initramfs, --interrupts, --irqchip, --kernel, --memory, --net, --paths, \
                    --pause, --vcpus]
                    --boots    | 0     | --boots 0: expected 1 to 100
                    --pause    | 1s    | --pause 1s: expected 0 to 60000
                    --irqchip  | none  | --irqchip none: expected full or split
                    --paths    | all   | --paths: expected no or yes
                    --net      | tap/0 | --net tap/0: expected a name of up to 15 letters
                    --net      | lab0  | /dev/vhost-net cannot be opened: ENOENT
                    """)
    void optionIsRefused(String name, String value, String sentence) throws Exception {
        assertRefused(sentence, name, value);
    }

    @Test
    void deviceThatCannotBePassedIsRefused() throws Exception {
        assertRefused("[1, 2, 3, 4, 5, 6, 7, 8, 9]: at most 8 devices", "--device", "1,2,3,4,5,6,7,8,9");
        for (String device : List.of("nvme", "0000:00:04.0")) {
            TinyVmm.Ended ended = run("--backend", "fake", "--device", device);
            assertThat(ended.out()).startsWith("tiny-vmm: ").contains(device).hasLineCount(1);
            assertThat(ended.status()).isEqualTo(2);
        }
    }

    @Test
    void guestBootsAsOftenAsToldTo() throws Exception {
        TinyVmm.Ended ended = run("--backend", "fake", "--interrupts", "10", "--boots", "3", "--pause", "1");
        assertThat(ended.out())
                .isEqualTo(("hello from 16 bits\n"
                                + "tiny-vmm: the guest has answered; 10 interrupts sent, 10 answered, 0 lost\n")
                        .repeat(3));
    }

    @Test
    void optionWithoutValueIsRefused() throws Exception {
        assertRefused(
                "'--kernel' is no option with a value: expected [--append, --backend, --boots, --device,"
                        + " --initramfs, --interrupts, --irqchip, --kernel, --memory, --net, --paths, --pause, --vcpus]",
                "--kernel");
    }

    /** A header of 64 bits: one sector of real mode, a command line of 255 letters, 16 MiB wanted at 16 MiB. */
    private static ByteBuffer image() {
        ByteBuffer image = ByteBuffer.allocate(IMAGE).order(ByteOrder.LITTLE_ENDIAN);
        image.put(0x1f1, (byte) 1).putInt(0x1f4, (IMAGE - 1024) / 16).putShort(0x1fe, (short) 0xaa55);
        image.putInt(HEADER_MAGIC, 0x53726448).putShort(VERSION, (short) 0x20f);
        image.putInt(0x22c, 0x7fffffff).put(0x236, (byte) 1).putInt(0x238, 255);
        return image.putLong(0x258, START).putInt(0x260, START);
    }

    private String file(ByteBuffer content) throws Exception {
        return Files.write(directory.resolve("image"), content.array()).toString();
    }

    private void assertImageRefused(String sentence, ByteBuffer content) throws Exception {
        String image = file(content);
        assertRefused(image + sentence, "--kernel", image);
    }

    @Test
    void imageWithoutMagicIsRefused() throws Exception {
        assertImageRefused(
                " is no bzImage: at 0x202 is 0x464c457f, expected 0x53726448 (HdrS)",
                image().putInt(HEADER_MAGIC, 0x464c457f));
        assertImageRefused(
                " is no bzImage: at 0x202 is 0x0, expected 0x53726448 (HdrS)", image().putShort(0x1fe, (short) 0));
        assertImageRefused(" is no bzImage: at 0x202 is 0x0, expected 0x53726448 (HdrS)", ByteBuffer.allocate(0x200));
    }

    @Test
    void imageWithout64BitEntryIsRefused() throws Exception {
        String sentence = " has no 64-bit entry: expected a kernel for x86-64, protocol 0x20c";
        assertImageRefused(sentence, image().put(0x236, (byte) 0));
        assertImageRefused(sentence, image().putShort(VERSION, (short) 0x20b));
    }

    @Test
    void imageThatIsCutOffIsRefused() throws Exception {
        assertImageRefused(" has 8192 bytes of 8208: it is cut off", image().putInt(0x1f4, (IMAGE - 1024) / 16 + 1));
    }

    @Test
    void kernelThatDoesNotFitIsRefused() throws Exception {
        assertRefused(
                "the kernel needs memory up to 0x2000000, and it ends at 0x1f00000: see --memory",
                "--kernel",
                file(image()),
                "--memory",
                "31");
        assertRefused(
                "the kernel needs memory up to 0x3ffffff000, and it ends at 0x10000000: see --memory",
                "--kernel",
                file(image().putLong(0x258, 0x3ffefff000L)));
        assertRefused(
                "the kernel needs memory up to 0x1000fff, and it ends at 0x10000000: see --memory",
                "--kernel",
                file(image().putLong(0x258, 0xfff)));
    }

    @Test
    void initramfsThatDoesNotFitIsRefused() throws Exception {
        Path initramfs = Files.write(directory.resolve("initramfs"), new byte[0x100001]);
        assertRefused(
                "the initramfs has 1048577 bytes, and 1048576 are free: see --memory",
                "--kernel",
                file(image()),
                "--initramfs",
                initramfs.toString(),
                "--memory",
                "33");
    }

    @Test
    void commandLineThatIsTooLongIsRefused() throws Exception {
        assertRefused(
                "the command line has 271 letters, at most 255",
                "--kernel",
                file(image()),
                "--append",
                "x".repeat(200));
    }

    @Test
    void fakeKnowsNoGuestOf64Bits() throws Exception {
        TinyVmm.Ended ended = run("--backend", "fake", "--kernel", file(image()));
        assertThat(ended.out())
                .contains(
                        "the fake kernel does not model a guest with a segment that real mode does not have (at RIP ");
        assertThat(ended.status()).isEqualTo(1);
    }

    // 64 bits on this machine's KVM, which need not bring Linux past its decompressor

    private TinyVmm.Ended enter(String code) throws Exception {
        return run("--kernel", file(image().put(1024 + 0x200, HexFormat.of().parseHex(code))), "--interrupts", "0");
    }

    /** rep outsb of 4 bytes of struct boot_params and of the MP table, to the console; then 0xfe to port 0x64. */
    @Test
    @RealKvm(fullIrqchip = true)
    void kernelIsEnteredWithItsParametersAndTurnsOff() throws Exception {
        TinyVmm.Ended ended = enter(
                "baf8030000" + "4881c602020000" + "b904000000f36e" + "be00fc0900b904000000f36e" + "b0fee664" + "f4");
        assertThat(ended.out())
                .isEqualTo("HdrS_MP_tiny-vmm: the guest turned itself off; 0 interrupts sent, 0 answered, 0 lost\n");
        assertThat(ended.status()).isZero();
    }

    @Test
    @RealKvm(fullIrqchip = true)
    void guestThatFailsEndsTheMachine() throws Exception {
        TinyVmm.Ended ended = enter("0f0b"); // ud2, without an IDT
        assertThat(ended.out()).startsWith("tiny-vmm: vcpu 0 (fd ").contains(" left with SHUTDOWN; 0 interrupts sent");
    }
}
