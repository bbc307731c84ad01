/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq;

import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;

/**
 * An error number as the kernel returned it. Numbers without a name here are kept and shown as such.
 *
 * <p>Source: include/uapi/asm-generic/errno-base.h and errno.h (the same on every architecture kvmirq supports).
 *
 * @param number 1–4095
 */
public record Errno(int number) {
    public static final Errno EPERM = new Errno(1);
    public static final Errno ENOENT = new Errno(2);
    public static final Errno EINTR = new Errno(4);
    public static final Errno EIO = new Errno(5);
    public static final Errno ENXIO = new Errno(6);
    public static final Errno E2BIG = new Errno(7);
    public static final Errno ENOEXEC = new Errno(8);
    public static final Errno EBADF = new Errno(9);
    public static final Errno EAGAIN = new Errno(11);
    public static final Errno ENOMEM = new Errno(12);
    public static final Errno EACCES = new Errno(13);
    public static final Errno EFAULT = new Errno(14);
    public static final Errno EBUSY = new Errno(16);
    public static final Errno EEXIST = new Errno(17);
    public static final Errno ENODEV = new Errno(19);
    public static final Errno EINVAL = new Errno(22);
    public static final Errno ENFILE = new Errno(23);
    public static final Errno EMFILE = new Errno(24);
    public static final Errno ENOTTY = new Errno(25);
    public static final Errno ENOSPC = new Errno(28);
    public static final Errno ESPIPE = new Errno(29);
    public static final Errno ERANGE = new Errno(34);

    private static final Map<Integer, String> NAMES = Map.ofEntries(
            Map.entry(1, "EPERM"),
            Map.entry(2, "ENOENT"),
            Map.entry(3, "ESRCH"),
            Map.entry(4, "EINTR"),
            Map.entry(5, "EIO"),
            Map.entry(6, "ENXIO"),
            Map.entry(7, "E2BIG"),
            Map.entry(8, "ENOEXEC"),
            Map.entry(9, "EBADF"),
            Map.entry(10, "ECHILD"),
            Map.entry(11, "EAGAIN"),
            Map.entry(12, "ENOMEM"),
            Map.entry(13, "EACCES"),
            Map.entry(14, "EFAULT"),
            Map.entry(15, "ENOTBLK"),
            Map.entry(16, "EBUSY"),
            Map.entry(17, "EEXIST"),
            Map.entry(18, "EXDEV"),
            Map.entry(19, "ENODEV"),
            Map.entry(20, "ENOTDIR"),
            Map.entry(21, "EISDIR"),
            Map.entry(22, "EINVAL"),
            Map.entry(23, "ENFILE"),
            Map.entry(24, "EMFILE"),
            Map.entry(25, "ENOTTY"),
            Map.entry(26, "ETXTBSY"),
            Map.entry(27, "EFBIG"),
            Map.entry(28, "ENOSPC"),
            Map.entry(29, "ESPIPE"),
            Map.entry(30, "EROFS"),
            Map.entry(31, "EMLINK"),
            Map.entry(32, "EPIPE"),
            Map.entry(33, "EDOM"),
            Map.entry(34, "ERANGE"),
            Map.entry(35, "EDEADLK"),
            Map.entry(36, "ENAMETOOLONG"),
            Map.entry(37, "ENOLCK"),
            Map.entry(38, "ENOSYS"),
            Map.entry(61, "ENODATA"),
            Map.entry(71, "EPROTO"),
            Map.entry(75, "EOVERFLOW"),
            Map.entry(95, "EOPNOTSUPP"),
            Map.entry(110, "ETIMEDOUT"));

    /** Second names, which no message uses. */
    private static final Map<String, String> ALIASES =
            Map.of("EWOULDBLOCK", "EAGAIN", "ENOTSUP", "EOPNOTSUPP", "EDEADLOCK", "EDEADLK");

    public Errno {
        if (number < 1 || number > 4095) {
            throw new IllegalArgumentException("errno " + number + " is out of range: expected 1–4095");
        }
    }

    /** The errno in a result that followed the kernel's convention, {@code -errno} for failure. */
    public static Errno ofResult(long result) {
        return new Errno(Math.toIntExact(-result));
    }

    /** The error of that name, as {@link #toString} gives it, or of another name of it, such as EWOULDBLOCK. */
    public static Optional<Errno> of(String name) {
        String own = ALIASES.getOrDefault(name, name);
        return NAMES.entrySet().stream()
                .filter(entry -> entry.getValue().equals(own))
                .findFirst()
                .map(entry -> new Errno(entry.getKey()))
                .or(() -> name.matches("errno [1-9]\\d{0,2}|errno [1-3]\\d{3}")
                        ? Optional.of(new Errno(Integer.parseInt(name.substring("errno ".length()))))
                        : Optional.empty());
    }

    /**
     * The number behind a name such as {@code EBUSY} or {@code ebusy}, a number, or its negative as a call returns it; 0
     * for 0; empty for anything else. -1 is EPERM's, as the kernel has it.
     */
    public static OptionalInt numberOf(String text) {
        Optional<Errno> named = of(text.toUpperCase(Locale.ROOT));
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

    /** The symbol, such as {@code EBUSY}, or {@code errno 4094} for a number without one. */
    @Override
    public String toString() {
        String name = NAMES.get(number);
        return name == null ? "errno " + number : name;
    }
}
