/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.uapi;

import io.kvmirq.uapi.UapiTable.FileKind;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;

/**
 * Annotations of the constants of {@link Uapi} and its companions, for {@link UapiTable}. A call uses the constant,
 * which the compiler inlines; no call reads the annotations.
 */
final class Fact {
    private Fact() {}

    /** An ioctl. Its argument is the given structure, else memory of the size in the request number, or a value. */
    @Retention(RetentionPolicy.RUNTIME)
    @interface Ioctl {
        FileKind[] on() default {};

        /** The kinds of files, if no other element is given. */
        FileKind[] value() default {};

        Class<?> argument() default Void.class;

        /** The kind of file whose descriptor is the result. */
        FileKind makes() default FileKind.NONE;

        /** The argument is a value: a constant whose name begins with this. */
        String values() default "";

        boolean arm64() default false;
    }

    /** A field of 1 byte; {@link U16}, {@link U32} and {@link U64} are one of 2, 4 and 8 bytes. */
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

    /** The kernel writes the field. */
    @Retention(RetentionPolicy.RUNTIME)
    @interface Out {}

    /** A descriptor that the caller passes. */
    @Retention(RetentionPolicy.RUNTIME)
    @interface Fd {}

    /** A descriptor that the kernel makes. */
    @Retention(RetentionPolicy.RUNTIME)
    @interface NewFd {
        FileKind value();
    }

    @Retention(RetentionPolicy.RUNTIME)
    @interface Gsi {}

    /** Flags: each bit is a constant whose name begins with this. */
    @Retention(RetentionPolicy.RUNTIME)
    @interface Flags {
        String value() default "";
    }

    /** A number: a constant whose name begins with this. */
    @Retention(RetentionPolicy.RUNTIME)
    @interface OneOf {
        String value();

        /** Whether the whole name is shown. */
        boolean whole() default false;
    }

    /** An address of the process. */
    @Retention(RetentionPolicy.RUNTIME)
    @interface Address {
        /** The offset of the field with the number of bytes behind the address, or -1. */
        int lengthAt() default -1;

        /** The most bytes behind the address. */
        int bytes() default 0;

        /** Whether it points to guest memory. */
        boolean guest() default false;
    }

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
    @interface Count {
        /** The size of one element in bytes. */
        int bytes() default 0;

        /** The structure of one element, if it is described. */
        Class<?> of() default Void.class;
    }

    /** The field is valid under a condition: a bit of the structure's flags is set, or another field has a value. */
    @Retention(RetentionPolicy.RUNTIME)
    @interface When {
        /** The bit, or the value. */
        int value();

        /** The offset of the 4-byte field in the condition; -1 for the structure's flags. */
        int at() default -1;

        /** The bits of that field that are compared; 0 for those of {@code value}. */
        int mask() default 0;

        /** Whether the condition is reversed. */
        boolean not() default false;
    }

    /** The field is repeated up to the end of the argument. */
    @Retention(RetentionPolicy.RUNTIME)
    @interface Each {
        int value();
    }

    /** A capability without relation to interrupts. */
    @Retention(RetentionPolicy.RUNTIME)
    @interface Aside {}

    /**
     * A constant that is no flag and no value, although its name begins like one: a mask, or the number of a feature.
     */
    @Retention(RetentionPolicy.RUNTIME)
    @interface NotAFlag {}

    /** No header and no kernel has the number or the layout: both were derived from this source. */
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
