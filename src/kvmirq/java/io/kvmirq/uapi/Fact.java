/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.uapi;

import io.kvmirq.uapi.UapiTable.FileKind;
import io.kvmirq.uapi.UapiTable.Trait;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;

/**
 * Annotations of the constants of {@link Uapi} and its companions, for {@link UapiTable}. A call uses the constant,
 * which the compiler inlines; nothing on a call's way reads these.
 */
final class Fact {
    private Fact() {}

    /** An ioctl. Its argument is the structure given; else memory of the size in the number, or a value. */
    @Retention(RetentionPolicy.RUNTIME)
    @interface Ioctl {
        FileKind[] on() default {};

        /** The same, where nothing else is to be said. */
        FileKind[] value() default {};

        Class<?> argument() default Void.class;

        /** The kind of file whose descriptor is the result. */
        FileKind makes() default FileKind.NONE;

        /** The argument is a value, one of the constants that begin so. */
        String values() default "";

        /** Encoded as if the kernel wrote the argument, but it reads it. */
        boolean reads() default false;

        /** Changes how interrupts go: without it, what follows on a tape is another story. */
        boolean interrupts() default false;

        /** The argument holds another address, in bytes that are not described. */
        boolean leadsOn() default false;

        /** For a replay: why another kernel may answer otherwise. */
        Trait[] traits() default {};

        /** The request that sets what this one gets: state that a replay takes from a tape. */
        long setBy() default 0;

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

    /** An array of so many bytes. */
    @Retention(RetentionPolicy.RUNTIME)
    @interface Bytes {
        int value();
    }

    /** The field as C names it, where that is not the constant's name in lower case. */
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

    /** Bits, each a constant that begins so. */
    @Retention(RetentionPolicy.RUNTIME)
    @interface Flags {
        String value() default "";
    }

    /** A number, one of the constants that begin so. */
    @Retention(RetentionPolicy.RUNTIME)
    @interface OneOf {
        String value();

        /** Shown by its whole name. */
        boolean whole() default false;
    }

    /** An address of the process. On a tape it is 0. */
    @Retention(RetentionPolicy.RUNTIME)
    @interface Address {
        /** The offset of the field that says how many bytes it points to, or -1. */
        int lengthAt() default -1;

        /** How many bytes it points to at most, where a tape holds them. */
        int bytes() default 0;

        /** It points to memory of a guest, which a tape names. */
        boolean guest() default false;
    }

    /** Bytes of the whole argument, as its caller says. */
    @Retention(RetentionPolicy.RUNTIME)
    @interface Length {}

    /** A structure of VFIO. */
    interface Argsz {
        @U32
        @Length
        int ARGSZ = 0;
    }

    /** A structure of iommufd. */
    interface SizeFirst {
        @U32
        @Length
        @Path("size")
        int LENGTH_OF_ARGUMENT = 0;
    }

    /** How many elements follow the structure. */
    @Retention(RetentionPolicy.RUNTIME)
    @interface Count {
        /** Of one, in bytes. */
        int bytes() default 0;

        /** One of them, where it is described. */
        Class<?> of() default Void.class;
    }

    /** The field holds under a condition: a bit of the structure's flags is set, or another field has a value. */
    @Retention(RetentionPolicy.RUNTIME)
    @interface When {
        /** The bit, or the value. */
        int value();

        /** The offset of the field asked, of 4 bytes; -1 for the structure's flags. */
        int at() default -1;

        /** The bits of that field that count; 0 for those of {@code value}. */
        int mask() default 0;

        /** The bits are not set. */
        boolean not() default false;
    }

    /** The field comes again, to the end of the argument. */
    @Retention(RetentionPolicy.RUNTIME)
    @interface Each {
        int value();
    }

    /** A capability that has nothing to do with interrupts, though it is named here: a replay does not compare it. */
    @Retention(RetentionPolicy.RUNTIME)
    @interface Aside {}

    /** No bit of the flags that begin as it does, nor a value: a mask, or the number of a feature. */
    @Retention(RetentionPolicy.RUNTIME)
    @interface NotAFlag {}

    /** No header and no kernel has the number or the layout: it was derived from this source. */
    @Retention(RetentionPolicy.RUNTIME)
    @interface Inferred {
        String value();
    }

    /** The argument points to memory that has no structure's name in C. */
    @Retention(RetentionPolicy.RUNTIME)
    @interface NoStruct {}

    /** The argument points to text that ends in NUL. */
    static final class Text {
        private Text() {}
    }
}
