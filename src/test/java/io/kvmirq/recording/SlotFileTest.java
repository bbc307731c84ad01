/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.OutputStream;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.Collectors;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Files as {@code native/observe/tape_map.c} leaves them, also when it was killed. */
class SlotFileTest {
    private static final int HEAD = 64;
    private static final int END_AT = 8;
    private static final int FULL_AT = 24;
    private static final long OPEN = Long.MIN_VALUE;
    private static final int SEED = 7;

    @TempDir
    private Path temporary;

    private Path file = Path.of("");

    @BeforeEach
    void prepare() throws IOException {
        file = Files.createFile(temporary.resolve("slots"));
        try (OutputStream empty = Files.newOutputStream(file)) {
            SlotFile.prepare(empty);
        }
    }

    private static ByteBuffer bytes(int size) {
        return ByteBuffer.allocate(size).order(ByteOrder.nativeOrder());
    }

    private static ByteBuffer slot(long mark, String line) {
        ByteBuffer slot = bytes(8 + (line.length() + 7) / 8 * 8);
        slot.putLong(line.length() | mark).put(line.getBytes(StandardCharsets.US_ASCII));
        return slot.position(slot.capacity()).flip();
    }

    private static ByteBuffer whole(String line) {
        return slot(0, line);
    }

    /** Appends slots, and room behind them that no slot took. */
    private void write(ByteBuffer... slots) throws IOException {
        byte[] before = Files.readAllBytes(file);
        int size = Arrays.stream(slots).mapToInt(ByteBuffer::remaining).sum();
        ByteBuffer after = bytes(before.length + size).put(before);
        Arrays.stream(slots).forEach(after::put);
        long end = after.capacity();
        after.putLong(8, end);
        Files.write(file, after.array());
        Files.write(file, new byte[4096], StandardOpenOption.APPEND);
    }

    private String read() throws IOException {
        try (SlotFile slots = new SlotFile(file, at -> {}, () -> true, () -> {})) {
            return new String(slots.readAllBytes(), StandardCharsets.US_ASCII);
        }
    }

    @Test
    void linesAreInTheOrderOfTheirSlots() throws IOException {
        assertThat(SlotFile.isEmpty(file)).isTrue();
        assertThat(read()).isEmpty();
        String longer = "x".repeat(100_000) + "\n";
        write(whole("one\n"), whole("sixteen letters\n"), whole(longer), whole("four\n"));
        assertThat(SlotFile.isEmpty(file)).isFalse();
        assertThat(read()).isEqualTo("one\nsixteen letters\n" + longer + "four\n");
    }

    /** One writer was killed before it marked its slot, one within its line. */
    @Test
    void slotsOfKilledWritersAreLeftOut() throws IOException {
        write(whole("one\n"), bytes(24), slot(OPEN, "never whole\n"), whole("two\n"), bytes(16));
        assertThat(read()).isEqualTo("one\ntwo\n");
    }

    @Test
    void slotThatIsBeingWrittenIsWaitedFor() throws IOException {
        write(whole("one\n"), slot(OPEN, "two\n"), whole("three\n"));
        int[] waits = {0};
        try (SlotFile slots = new SlotFile(file, at -> {}, () -> ++waits[0] > 5, () -> {
            if (waits[0] == 3) {
                writeWhole(4);
            }
        })) {
            assertThat(new String(slots.readAllBytes(), StandardCharsets.US_ASCII))
                    .isEqualTo("one\ntwo\nthree\n");
        }
    }

    private void writeWhole(int length) {
        try {
            byte[] all = Files.readAllBytes(file);
            ByteBuffer.wrap(all).order(ByteOrder.nativeOrder()).putLong(HEAD + 16, length);
            Files.write(file, all);
        } catch (IOException e) {
            throw new AssertionError(e);
        }
    }

    /** As when a program of several threads runs another one by exec(3), in its place. */
    @Test
    void writerThatNeverEndsItsSlotIsNotWaitedForForEver() throws IOException {
        write(slot(OPEN, "never\n"), whole("after\n"));
        byte[] line = new byte[6];
        int[] waits = {0};
        try (SlotFile slots = new SlotFile(file, at -> {}, () -> ++waits[0] > 1000, () -> {})) {
            assertThat(slots.readNBytes(line, 0, line.length)).isEqualTo(line.length);
        }
        assertThat(new String(line, StandardCharsets.US_ASCII)).isEqualTo("after\n");
        assertThat(waits[0]).isLessThan(1000);
    }

    @Test
    void fullDiskLeavesTheLastLineCut() throws IOException {
        write(whole("one\n"));
        byte[] all = Files.readAllBytes(file);
        all[FULL_AT] = 1;
        Files.write(file, all);
        assertThat(read()).isEqualTo("one\n{");
    }

    /** Whole lines from the first one on, then a cut line if anything lacks; never an error. */
    @Test
    void fileCutAnywhereHasItsFirstLines() throws IOException {
        Random random = new Random(SEED);
        List<String> lines = new ArrayList<>();
        for (int i = 0; i < 40; i++) {
            lines.add("line " + i + "x".repeat(random.nextInt(30)) + "\n");
        }
        write(lines.stream().map(SlotFileTest::whole).toArray(ByteBuffer[]::new));
        byte[] all = Files.readAllBytes(file);
        String text = String.join("", lines);
        int used = all.length - 4096;
        for (int length = 0; length <= used + 8; length++) {
            Files.write(file, Arrays.copyOf(all, length));
            String read = read();
            String whole = read.endsWith("{") ? read.substring(0, read.length() - 1) : read;
            assertThat(text).as("cut at " + length).startsWith(whole);
            assertThat(whole).as("cut at " + length).matches("(?s)(.*\n)?");
            assertThat(read.endsWith("{")).as("cut at " + length).isEqualTo(length < used);
        }
    }

    @Test
    void ownerIsToldHowFarItWasRead() throws IOException {
        String line = "x".repeat(100_000) + "\n";
        write(whole(line), whole(line), whole(line), whole(line));
        List<Long> told = new ArrayList<>();
        try (SlotFile slots = new SlotFile(file, told::add, () -> true, () -> {})) {
            assertThat(slots.readAllBytes()).hasSize(4 * line.length());
        }
        assertThat(told).containsExactly(HEAD + 3L * whole(line).remaining());
    }

    /** A child of the program wrote the end, and made the file as long: it takes no memory, and no time to read. */
    @Test
    void endThatNoLineReachesEndsTheStream() throws IOException {
        write(whole("one\n"));
        long far = 1L << 42;
        try (RandomAccessFile hostile = new RandomAccessFile(file.toFile(), "rw")) {
            hostile.setLength(far);
            hostile.seek(END_AT);
            hostile.write(bytes(8).putLong(far).array());
        }
        assertThat(read()).isEqualTo("one\n{");
    }

    /** Bytes that no writer wrote end the stream, and take no more memory than the longest line. */
    @Test
    void anyBytesAreReadToAnEnd() throws IOException {
        write(lines());
        byte[] all = Files.readAllBytes(file);
        Random random = new Random(SEED);
        for (int i = 0; i < 2000; i++) {
            byte[] changed = all.clone();
            for (int j = 0; j <= i % 5; j++) {
                changed[random.nextInt(changed.length)] = (byte) random.nextInt();
            }
            Files.write(file, changed);
            assertThat(read().length()).as("round " + i).isLessThanOrEqualTo(all.length);
        }
    }

    private static ByteBuffer[] lines() {
        return List.of("one\n", "two two two\n", "three\n").stream()
                .map(SlotFileTest::whole)
                .collect(Collectors.toList())
                .toArray(ByteBuffer[]::new);
    }
}
