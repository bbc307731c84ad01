/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import io.kvmirq.backend.HostFiles;
import io.kvmirq.host.facts.KernelLog;
import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.util.List;
import java.util.Optional;

/**
 * This machine's files, with the kernel log as a command prints it, because reading {@code /dev/kmsg} itself waits at
 * its end for the next message. No log if the command is not there, or this user may not read it.
 */
record LoggedFiles(HostFiles files, List<String> command) implements HostFiles {
    /** With the system's dmesg: root runs it, so it is not searched in PATH. */
    LoggedFiles(HostFiles files) {
        this(files, List.of("/bin/dmesg", "--raw"));
    }

    @Override
    public Optional<byte[]> bytes(String path, int max) {
        return files.bytes(path, max);
    }

    @Override
    public Optional<InputStream> open(String path) {
        if (!path.equals(KernelLog.FILE)) {
            return files.open(path);
        }
        try {
            return Optional.of(new ProcessBuilder(command)
                    .redirectInput(ProcessBuilder.Redirect.from(new File("/dev/null")))
                    .redirectError(ProcessBuilder.Redirect.DISCARD)
                    .start()
                    .getInputStream());
        } catch (IOException e) {
            return Optional.empty();
        }
    }

    @Override
    public Optional<Kept> keep(String path) {
        return files.keep(path);
    }

    @Override
    public Optional<String> link(String path) {
        return files.link(path);
    }

    @Override
    public List<String> list(String path) {
        return files.list(path);
    }

    /** For root whose rights the launcher gave up, as root has them: a VMM is started without the launcher. */
    @Override
    public Access access(String path) {
        Access access = files.access(path);
        return access == Access.ABSENT || !Boolean.getBoolean("kvmirq.root") ? access : Access.ALLOWED;
    }

    @Override
    public Optional<Owner> owner(String path) {
        return files.owner(path);
    }

    @Override
    public Reading reading(String path) {
        return files.reading(path);
    }
}
