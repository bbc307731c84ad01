/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.tapes;

import io.kvmirq.cli.frame.UnreadableInputException;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;

/** Makes another program append its calls to a file. For one program. */
interface ProgramRecorder extends AutoCloseable {
    /**
     * @param tape to which its calls are appended
     * @param limit bytes of memory for the calls that were not read yet
     */
    ProcessBuilder builder(List<String> command, Path tape, long limit) throws IOException;

    /**
     * Checks the start of the program after the started process has ended.
     *
     * @throws UnreadableInputException when the program was not started in it
     */
    void requireStarted(String program);

    /** The reason why a program did not write its first line. */
    String whyNothing(String program);

    /** The reason why a program that wrote its first line has made no recorded call. */
    String whyNoCall(String program);

    @Override
    void close();
}
