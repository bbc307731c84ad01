/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq;

import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/**
 * An error number returned by the kernel. An unnamed number prints as, for example, {@code errno 4094}.
 *
 * <p>Source: include/uapi/asm-generic/errno-base.h and errno.h (the same on every architecture kvmirq supports).
 *
 * @param number 1–4095
 */
public record Errno(int number) {
    /** Operation not permitted. */
    public static final Errno EPERM = new Errno(1);
    /** No such file or directory. */
    public static final Errno ENOENT = new Errno(2);
    /** No such process or thread. */
    public static final Errno ESRCH = new Errno(3);
    /** A signal interrupted the call. */
    public static final Errno EINTR = new Errno(4);
    /** Input/output error. KVM returns EIO if the VM belongs to another process. */
    public static final Errno EIO = new Errno(5);
    /** No such device or address. KVM returns ENXIO for an unknown attribute, or in some calls without an irqchip. */
    public static final Errno ENXIO = new Errno(6);
    /** Argument list too long. KVM returns E2BIG if the caller's buffer is too short or a value exceeds a limit. */
    public static final Errno E2BIG = new Errno(7);
    /** Exec format error. */
    public static final Errno ENOEXEC = new Errno(8);
    /** Bad file descriptor. */
    public static final Errno EBADF = new Errno(9);
    /** Try again. */
    public static final Errno EAGAIN = new Errno(11);
    /** Out of memory. */
    public static final Errno ENOMEM = new Errno(12);
    /** Permission denied. */
    public static final Errno EACCES = new Errno(13);
    /** Bad address. */
    public static final Errno EFAULT = new Errno(14);
    /** Device or resource busy. */
    public static final Errno EBUSY = new Errno(16);
    /** The object exists already. */
    public static final Errno EEXIST = new Errno(17);
    /** No such device. */
    public static final Errno ENODEV = new Errno(19);
    /** Invalid argument. */
    public static final Errno EINVAL = new Errno(22);
    /** Too many open files in the system. */
    public static final Errno ENFILE = new Errno(23);
    /** Too many open files in the process. */
    public static final Errno EMFILE = new Errno(24);
    /** The file does not support this ioctl. */
    public static final Errno ENOTTY = new Errno(25);
    /** No space left. */
    public static final Errno ENOSPC = new Errno(28);
    /** The file is not seekable. */
    public static final Errno ESPIPE = new Errno(29);
    /** Result out of range. */
    public static final Errno ERANGE = new Errno(34);
    /** The kernel lacks the call, or a driver lacks the operation. */
    public static final Errno ENOSYS = new Errno(38);
    /** Too many symbolic links, or too many nested epoll sets. */
    public static final Errno ELOOP = new Errno(40);
    /** A value is too large for its type. */
    public static final Errno EOVERFLOW = new Errno(75);
    /** The file is of the wrong kind or in the wrong state. */
    public static final Errno EBADFD = new Errno(77);
    /** Message too long. The iommufd driver returns EMSGSIZE if the caller's buffer is too short. */
    public static final Errno EMSGSIZE = new Errno(90);
    /** Operation not supported. */
    public static final Errno EOPNOTSUPP = new Errno(95);
    /** Address in use. */
    public static final Errno EADDRINUSE = new Errno(98);
    /** The memory page has a hardware error. */
    public static final Errno EHWPOISON = new Errno(133);

    /** The names of errnos 1 to 40, in order. */
    private static final List<String> FIRST_NAMES = List.of(
            ("EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG ENOEXEC EBADF ECHILD EAGAIN ENOMEM EACCES EFAULT ENOTBLK EBUSY"
                            + " EEXIST EXDEV ENODEV ENOTDIR EISDIR EINVAL ENFILE EMFILE ENOTTY ETXTBSY EFBIG ENOSPC"
                            + " ESPIPE EROFS EMLINK EPIPE EDOM ERANGE EDEADLK ENAMETOOLONG ENOLCK ENOSYS ENOTEMPTY"
                            + " ELOOP")
                    .split(" ", -1));

    private static final Map<Integer, String> LATER_NAMES = Map.ofEntries(
            Map.entry(61, "ENODATA"),
            Map.entry(71, "EPROTO"),
            Map.entry(75, "EOVERFLOW"),
            Map.entry(77, "EBADFD"),
            Map.entry(90, "EMSGSIZE"),
            Map.entry(95, "EOPNOTSUPP"),
            Map.entry(98, "EADDRINUSE"),
            Map.entry(110, "ETIMEDOUT"),
            Map.entry(133, "EHWPOISON"));

    /** Alternative names, mapped to the names that messages use. */
    private static final Map<String, String> ALIASES =
            Map.of("EWOULDBLOCK", "EAGAIN", "ENOTSUP", "EOPNOTSUPP", "EDEADLOCK", "EDEADLK");

    public Errno {
        if (number < 1 || number > 4095) {
            throw new IllegalArgumentException("errno " + number + " is out of range: expected 1-4095");
        }
    }

    /**
     * A failed call's errno.
     *
     * @param result {@code -errno}, as the kernel and every binding return it: -1 to -4095
     * @throws IllegalArgumentException for any other {@code int}; ArithmeticException for a number beyond {@code int}
     */
    public static Errno ofResult(long result) {
        return new Errno(Math.toIntExact(-result));
    }

    /** Finds an errno by its {@link #toString} name or by an alternative name such as EWOULDBLOCK. */
    public static Optional<Errno> parse(String name) {
        Objects.requireNonNull(name, "name is null");
        String own = ALIASES.getOrDefault(name, name);
        if (name.matches("errno [1-9]\\d{0,2}|errno [1-3]\\d{3}")) {
            return Optional.of(new Errno(Integer.parseInt(name.substring("errno ".length()))));
        }
        return Stream.concat(IntStream.rangeClosed(1, FIRST_NAMES.size()).boxed(), LATER_NAMES.keySet().stream())
                .map(Errno::new)
                .filter(errno -> errno.toString().equals(own))
                .findFirst();
    }

    /**
     * Parses an errno typed by a user: a name in any case ({@code EBUSY}, {@code ebusy}), a number, or a call's
     * negative result. {@code -1} means EPERM, as in the kernel.
     *
     * @return the errno, 0 for success, or empty if the text is neither a known name nor a number from -4095 to 4095
     */
    public static OptionalInt numberOf(String text) {
        Objects.requireNonNull(text, "text is null");
        Optional<Errno> named = parse(text.toUpperCase(Locale.ROOT));
        if (named.isPresent()) {
            return OptionalInt.of(named.get().number);
        }
        try {
            int number = Integer.parseInt(text);
            return number >= -4095 && number <= 4095 ? OptionalInt.of(Math.abs(number)) : OptionalInt.empty();
        } catch (NumberFormatException e) {
            return OptionalInt.empty();
        }
    }

    /** The errno's name, such as {@code EBUSY}, or {@code errno 4094} for a number without a name. */
    @Override
    public String toString() {
        return number <= FIRST_NAMES.size()
                ? FIRST_NAMES.get(number - 1)
                : LATER_NAMES.getOrDefault(number, "errno " + number);
    }
}
