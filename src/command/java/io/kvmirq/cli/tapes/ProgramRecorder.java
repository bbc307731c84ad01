/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.tapes;

import io.kvmirq.cli.frame.UnreadableInputException;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;

/** A way to make another program append its calls to a file. For one program. */
interface ProgramRecorder extends AutoCloseable {
    /**
     * @param tape to which its calls are appended
     * @param limit bytes of memory for the calls that were not read yet
     */
    ProcessBuilder builder(List<String> command, Path tape, long limit) throws IOException;

    /**
     * To be asked when the process has ended that was started.
     *
     * @throws UnreadableInputException when the program was not started in it
     */
    void requireStarted(String program);

    /** Why a program has not even written that it began. */
    String whyNothing(String program);

    /** Why a program that wrote that it began has made no call. */
    String whyNoCall(String program);

    @Override
    void close();
}
