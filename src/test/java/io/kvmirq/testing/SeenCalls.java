/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;

/** System calls of a program as the kernel gets them: {@code src/test/native/syscalls.c} writes them to a file. */
public final class SeenCalls {
    private final Path program;

    /** Compiles the program, or takes the one that the lab compiled. */
    public SeenCalls(Path temporary) throws IOException, InterruptedException {
        Path compiled = Path.of("syscalls", System.getProperty("os.arch")).toAbsolutePath();
        if (Files.exists(compiled)) {
            program = compiled;
            return;
        }
        Machine.assumeProgram("cc");
        program = temporary.resolve("syscalls");
        Program.output(
                List.of("cc", "-o", program.toString(), Machine.root().resolve("src/test/native/syscalls.c") + ""));
    }

    /** The command that runs another one and writes its ioctls of KVM and VFIO. */
    public List<String> ioctls(Path to, List<String> command) {
        return watched("ioctls", to, command);
    }

    /** The same, with calls on eventfds. */
    public List<String> all(Path to, List<String> command) {
        return watched("all", to, command);
    }

    private List<String> watched(String which, Path to, List<String> command) {
        List<String> watched = new ArrayList<>(List.of(program.toString(), which, to.toString()));
        watched.addAll(command);
        return watched;
    }

    /** @param ids the eventfd-ids of the eventfds in the argument, -1 for none */
    public record Ioctl(long request, ByteBuffer argument, List<Long> ids) {}

    /** The ioctls so far, without those whose argument is a number. The last line may be written just now. */
    public static List<Ioctl> ioctls(Path seen) throws IOException {
        String text = Files.readString(seen);
        return text.substring(0, text.lastIndexOf('\n') + 1)
                .lines()
                .map(line -> line.split(" ", -1))
                .filter(words -> words[0].equals("ioctl") && !words[3].equals("value"))
                .map(words -> new Ioctl(
                        Long.decode(words[2]),
                        ByteBuffer.wrap(HexFormat.of().parseHex(words[3])).order(ByteOrder.LITTLE_ENDIAN),
                        Arrays.stream(words)
                                .filter(word -> word.startsWith("id="))
                                .map(word -> Long.valueOf(word.substring("id=".length())))
                                .toList()))
                .toList();
    }
}
