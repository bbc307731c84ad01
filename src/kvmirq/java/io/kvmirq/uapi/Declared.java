/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.uapi;

import io.kvmirq.uapi.UapiTable.FileKind;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;

/**
 * Annotations of the constants in {@link Uapi} and its companions, for {@link UapiTable}. Calls use the constants,
 * which the compiler inlines, and never read the annotations.
 */
final class Declared {
    private Declared() {}

    /** An ioctl. Without a structure, its argument is memory of the size in the request number, or a value. */
    @Retention(RetentionPolicy.RUNTIME)
    @interface Ioctl {
        FileKind[] on() default {};

        /** The kinds of files, if no other element is given. */
        FileKind[] value() default {};

        Class<?> argument() default Void.class;

        boolean arm64() default false;
    }

    /** A 1-byte field; {@link U16}, {@link U32} and {@link U64} are fields of 2, 4 and 8 bytes. */
    @Retention(RetentionPolicy.RUNTIME)
    @interface U8 {}

    @Retention(RetentionPolicy.RUNTIME)
    @interface U16 {}

    @Retention(RetentionPolicy.RUNTIME)
    @interface U32 {}

    @Retention(RetentionPolicy.RUNTIME)
    @interface U64 {}

    /** An array of this number of bytes. */
    @Retention(RetentionPolicy.RUNTIME)
    @interface Bytes {
        int value();
    }

    /** The field's name in C, if it is not the constant's name in lower case. */
    @Retention(RetentionPolicy.RUNTIME)
    @interface Path {
        String value();
    }

    /** A descriptor. */
    @Retention(RetentionPolicy.RUNTIME)
    @interface Fd {}

    @Retention(RetentionPolicy.RUNTIME)
    @interface Gsi {}

    /** Flags, whose bits are the constants with this name prefix. */
    @Retention(RetentionPolicy.RUNTIME)
    @interface Flags {
        String value() default "";
    }

    /** A number, whose values are the constants with this name prefix. */
    @Retention(RetentionPolicy.RUNTIME)
    @interface OneOf {
        String value();
    }

    /** An address in the process. */
    @Retention(RetentionPolicy.RUNTIME)
    @interface Address {}

    /** The length of the whole argument in bytes, as the caller sets it. */
    @Retention(RetentionPolicy.RUNTIME)
    @interface Length {}

    /** A VFIO structure, which begins with {@code argsz}. */
    interface Argsz {
        @U32
        @Length
        int ARGSZ = 0;
    }

    /** An iommufd structure, which begins with {@code size}. */
    interface SizeFirst {
        @U32
        @Length
        @Path("size")
        int LENGTH_OF_ARGUMENT = 0;
    }

    /** The number of elements that follow the structure. */
    @Retention(RetentionPolicy.RUNTIME)
    @interface Count {}

    /** A mask or feature number, although its name has the prefix of flags or values. */
    @Retention(RetentionPolicy.RUNTIME)
    @interface NotAFlag {}

    /** The number or layout is not in any header or kernel, but was derived from this source. */
    @Retention(RetentionPolicy.RUNTIME)
    @interface Inferred {
        String value();
    }

    /** The argument points to memory without a structure name in C. */
    @Retention(RetentionPolicy.RUNTIME)
    @interface NoStruct {}

    /** The argument points to text that ends in NUL. */
    static final class Text {
        private Text() {}
    }
}
