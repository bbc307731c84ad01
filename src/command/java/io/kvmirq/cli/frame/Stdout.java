/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.frame;

import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** Standard output that remembers the cause of a failed write; a PrintStream drops it. For one thread. */
public final class Stdout extends OutputStream {
    private static final String READER_LEFT = "Broken pipe";

    private final OutputStream out = new FileOutputStream(FileDescriptor.out);
    private @Nullable IOException failure;

    @Override
    public void write(int oneByte) throws IOException {
        write(new byte[] {(byte) oneByte}, 0, 1);
    }

    @Override
    public void write(byte[] bytes, int offset, int length) throws IOException {
        try {
            out.write(bytes, offset, length);
        } catch (IOException e) {
            failure = e;
            throw e;
        }
    }

    /** The cause of lost output. A pipe closed by its reader, such as head, does not count. */
    public Optional<String> lost() {
        String message = failure == null ? READER_LEFT : String.valueOf(failure.getMessage());
        return message.contains(READER_LEFT) ? Optional.empty() : Optional.of(message);
    }
}
