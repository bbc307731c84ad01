/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.trace;

import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import java.util.stream.Stream;

/**
 * The files of a tracefs, by their paths below it. Each method is one operation of the kernel, which may refuse it with an
 * errno, whose text is the message of the exception.
 */
interface TraceFiles {
    /** The content of a file, each byte a character. */
    String read(String file) throws IOException;

    /** Writes a line at once, and keeps the file's other lines: opened to be truncated, it would lose all. */
    void write(String file, String line) throws IOException;

    /** Opens a file to truncate it: a {@code trigger} loses its triggers, except those that others refer to. */
    void empty(String file) throws IOException;

    void create(String directory) throws IOException;

    void remove(String directory) throws IOException;

    /** The names in a directory, sorted. None if it does not exist or cannot be read. */
    List<String> list(String directory);

    /** The remedy for a refusal with this text. */
    static String remedy(String refusal) {
        return refusal.contains("Read-only file system")
                ? "run mount -o remount,rw /sys/kernel/tracing"
                : refusal.matches(".*[dD]enied.*")
                        ? "run as root"
                        : refusal.contains("not permitted")
                                ? "boot without lockdown=confidentiality"
                                : "see /sys/kernel/tracing/error_log, and dmesg";
    }

    /** Files of a mounted tracefs. */
    static TraceFiles at(Path tracefs) {
        return new TraceFiles() {
            @Override
            public String read(String file) throws IOException {
                try (InputStream in = new FileInputStream(tracefs.resolve(file).toFile())) {
                    return new String(in.readAllBytes(), StandardCharsets.ISO_8859_1);
                }
            }

            @Override
            public void write(String file, String line) throws IOException {
                byte[] bytes = (line + "\n").getBytes(StandardCharsets.UTF_8);
                Files.write(tracefs.resolve(file), bytes, StandardOpenOption.WRITE);
            }

            @Override
            public void empty(String file) throws IOException {
                Files.write(
                        tracefs.resolve(file),
                        new byte[0],
                        StandardOpenOption.WRITE,
                        StandardOpenOption.TRUNCATE_EXISTING);
            }

            @Override
            public void create(String directory) throws IOException {
                Files.createDirectory(tracefs.resolve(directory));
            }

            @Override
            public void remove(String directory) throws IOException {
                Files.delete(tracefs.resolve(directory));
            }

            @Override
            public List<String> list(String directory) {
                try (Stream<Path> files = Files.list(tracefs.resolve(directory))) {
                    return files.map(file -> file.getFileName().toString())
                            .sorted()
                            .toList();
                } catch (IOException e) {
                    return List.of();
                }
            }
        };
    }
}
