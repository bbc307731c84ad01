/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.facts;

import io.kvmirq.backend.HostFiles;
import io.kvmirq.path.Known;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The limits of what this process sees: its pid namespace, its user, and the kernel's lockdown. Immutable.
 *
 * <p>Source: {@code PROC_PID_INIT_INO} in include/linux/proc_ns.h; {@code task_state()} in fs/proc/array.c; {@code
 * lockdown_read()} in security/lockdown/lockdown.c; {@code debugfs_locked_down()} in fs/debugfs/file.c; {@code
 * proc_fd_permission()} in fs/proc/fd.c.
 *
 * @param namespaced whether this process is in another pid namespace than the host's init
 * @param root whether this process runs as root
 * @param seesEveryUser whether it may look at the descriptors of all users' processes: it is root, and not of a user
 *     namespace, or has root's capabilities for this
 * @param lockdown the kernel's lockdown, {@code integrity} or {@code confidentiality}; empty for none
 */
public record Sight(boolean namespaced, boolean root, boolean seesEveryUser, Optional<String> lockdown) {
    /** The remedy if a pid namespace hides processes. */
    public static final String ON_THE_HOST =
            "run kvmirq on the host, or in the host's pid namespace (docker run --pid=host)";

    /** The remedy if root is refused. */
    private static final String BEYOND_ROOT =
            "run kvmirq outside a container and with all capabilities; ausearch -m avc shows denials";

    private static final int CAP_DAC_READ_SEARCH = 2;
    private static final int CAP_SYS_PTRACE = 19;
    private static final String INIT = "pid:[4026531836]";
    private static final Pattern MODE = Pattern.compile("\\[(integrity|confidentiality)]");
    private static final Pattern DEBUGFS = Pattern.compile("sys/kernel/debug(/.*)?");
    /** Files that integrity leaves readable: {@code lockdown_reasons} in security/security.c. */
    private static final Pattern CONFIDENTIAL = Pattern.compile("sys/kernel/(tracing(/.*)?|kprobes/.*)|proc/kcore");

    /** Reads the files of this process. */
    public static Sight read(HostFiles files) {
        Optional<String> namespace = files.link("proc/self/ns/pid").filter(target -> target.startsWith("pid:"));
        String status = files.text("proc/self/status").orElse("");
        boolean root = ThreadStat.line(status, "Uid").strip().matches("0(\\s.*)?");
        boolean capable = ThreadStat.hasCapability(status, CAP_DAC_READ_SEARCH).orElse(false)
                && ThreadStat.hasCapability(status, CAP_SYS_PTRACE).orElse(false);
        boolean inHost = files.text("proc/self/uid_map")
                .map(map -> map.strip().matches("0\\s+0\\s+4294967295"))
                .orElse(true);
        Matcher mode = MODE.matcher(files.text("sys/kernel/security/lockdown").orElse(""));
        return new Sight(
                namespace.filter(target -> !target.equals(INIT)).isPresent()
                        || ThreadStat.line(status, "NSpid").strip().matches("\\d+\\s.*"),
                root,
                (root || capable) && inHost,
                mode.find() ? Optional.of(mode.group(1)) : Optional.empty());
    }

    /** Why processes of the host are hidden from this one; empty if no namespace hides them. */
    public Optional<Known.Unknown<Boolean>> hidesProcesses() {
        return namespaced
                ? Optional.of(new Known.Unknown<>(
                        Known.Reason.HIDDEN,
                        "kvmirq runs in its own pid namespace, which hides the host's processes",
                        ON_THE_HOST))
                : Optional.empty();
    }

    /** The remedy if processes cannot be read. */
    public String toSeeProcesses() {
        return seesEveryUser ? BEYOND_ROOT : HostKvm.AS_ROOT;
    }

    /** Whether lockdown refuses a file, which may then look absent. */
    public boolean locks(String path) {
        return lockdown.isPresent() && DEBUGFS.matcher(path).matches()
                || lockdown.filter("confidentiality"::equals).isPresent()
                        && CONFIDENTIAL.matcher(path).matches();
    }

    /** Why a file that is there may not be read. */
    public <T> Known.Unknown<T> refused(String path) {
        if (locks(path)) {
            return new Known.Unknown<>(
                    Known.Reason.LOCKED_DOWN,
                    "/" + path + " is denied even to root: the kernel is locked down (" + lockdown.orElseThrow() + ")",
                    "not possible while Secure Boot or lockdown= keeps the kernel locked down");
        }
        return root
                ? new Known.Unknown<>(
                        Known.Reason.REFUSED,
                        "/" + path + " is denied to root: a security module forbids it, or a capability is missing",
                        BEYOND_ROOT)
                : new Known.Unknown<>(
                        Known.Reason.REFUSED, "/" + path + " cannot be read by this user", HostKvm.AS_ROOT);
    }

    /** Why a file cannot be read: it is refused, or it does not exist, and {@code needs} would make it exist. */
    public <T> Known.Unknown<T> missing(HostFiles files, String path, String needs) {
        return files.reading(path) == HostFiles.Reading.DENIED
                ? refused(path)
                : new Known.Unknown<>(Known.Reason.ABSENT, "/" + path + " does not exist", needs);
    }
}
