/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording;

import io.kvmirq.Errno;
import io.kvmirq.uapi.UapiTable;
import io.kvmirq.uapi.UapiTable.FileKind;
import org.jspecify.annotations.Nullable;

/** Writes the line of a call, with names in place of descriptors. The caller holds the writer's lock. */
record CallLines(TapeWriter writer, RecordedFiles files, int pid) {
    void begin(Capture capture, String call, String on) {
        writer.begin(pid, capture.tid, call, on);
    }

    void begin(Capture capture, String call, int fd) {
        begin(capture, call, files.subject(fd));
    }

    void end(long result) {
        writer.end(result < 0 ? -1 : result, result < 0 && result >= -4095 ? Errno.ofResult(result) : null);
    }

    /** Writes the structures of a call without a description, then its result. */
    void end(Capture capture, long result) {
        structures(capture, null);
        end(result);
    }

    /** @param type the kind of file if {@code result} is a new descriptor, else {@link FileKind#NONE} */
    void end(long result, FileKind type) {
        if (result < 0 || type == FileKind.NONE) {
            end(result);
        } else {
            made(files.made((int) result, type));
        }
    }

    void made(String name) {
        writer.text(TapeWriter.MADE, name);
        writer.end(0, null);
    }

    /** @param struct the layout of the argument, if it is known */
    void structures(Capture capture, UapiTable.@Nullable Struct struct) {
        if (capture.inLength >= 0) {
            writer.bytes(TapeWriter.IN, capture.in, capture.inLength);
            if (struct != null) {
                writer.fields(struct, capture.in, capture.inLength);
            }
        }
        if (capture.outLength >= 0) {
            writer.bytes(TapeWriter.OUT, capture.out, capture.outLength);
        }
        if (capture.dataLength >= 0) {
            writer.bytes(TapeWriter.DATA, capture.data, capture.dataLength);
        }
        writer.names();
        if (capture.cut) {
            writer.flag(TapeWriter.CUT);
        }
    }
}
