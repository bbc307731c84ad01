/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import io.kvmirq.Errno;
import io.kvmirq.KernelException;
import io.kvmirq.explain.Answers;
import io.kvmirq.explain.KernelCall;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFileAttributes;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Set;

/** Checks a device node before native code is loaded. Opening the node may still fail. */
final class DeviceNode {
    private static final Set<PosixFilePermission> GROUP_MAY =
            Set.of(PosixFilePermission.GROUP_READ, PosixFilePermission.GROUP_WRITE);

    private DeviceNode() {}

    /** @throws KernelException ENOENT, or EACCES with the name of the user or group that may open the node */
    static void requireOpenable(Path node) {
        if (Files.notExists(node)) {
            throw new KernelException(
                    KernelCall.OPEN.label(),
                    node.toString(),
                    Errno.ENOENT,
                    Answers.sentence(KernelCall.OPEN, Errno.ENOENT, Set.of()));
        }
        if (!Files.isReadable(node) || !Files.isWritable(node)) {
            throw new KernelException(KernelCall.OPEN.label(), node.toString(), Errno.EACCES, whoMay(node));
        }
    }

    private static String whoMay(Path node) {
        try {
            PosixFileAttributes attributes = Files.readAttributes(node, PosixFileAttributes.class);
            String group = attributes.group().getName();
            if (attributes.permissions().containsAll(GROUP_MAY)) {
                return "this user may not open it: join group " + group + ", which may";
            }
            return "only " + attributes.owner().getName() + " may open it, with mode "
                    + PosixFilePermissions.toString(attributes.permissions())
                    + ": run as that user, or let a group in with"
                    + " chgrp kvm " + node + " && chmod 660 " + node;
        } catch (IOException e) {
            return Answers.sentence(KernelCall.OPEN, Errno.EACCES, Set.of());
        }
    }
}
