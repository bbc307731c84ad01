/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.uapi;

import io.kvmirq.uapi.UapiTable.FileKind;
import java.lang.annotation.ElementType;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;

/**
 * Annotations of the constants of {@link Uapi} and its companions, for {@link UapiTable}. A call uses the constant,
 * which the compiler inlines; nothing on a call's way reads these.
 */
final class Fact {
    private Fact() {}

    /** An ioctl. Its argument is the structure given; else memory of the size in the number, or a value. */
    @Retention(RetentionPolicy.RUNTIME)
    @Target(ElementType.FIELD)
    @interface Ioctl {
        /** The kinds of file it is made on. */
        FileKind[] on() default {};

        /** The same, where nothing else is to be said. */
        FileKind[] value() default {};

        /** The structure that the argument points to. */
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

        /** For arm64 alone. */
        boolean arm64() default false;
    }

    /** A field of 1 byte. */
    @Retention(RetentionPolicy.RUNTIME)
    @Target(ElementType.FIELD)
    @interface U8 {}

    /** A field of 2 bytes. */
    @Retention(RetentionPolicy.RUNTIME)
    @Target(ElementType.FIELD)
    @interface U16 {}

    /** A field of 4 bytes. */
    @Retention(RetentionPolicy.RUNTIME)
    @Target(ElementType.FIELD)
    @interface U32 {}

    /** A field of 8 bytes. */
    @Retention(RetentionPolicy.RUNTIME)
    @Target(ElementType.FIELD)
    @interface U64 {}

    /** An array of so many bytes. */
    @Retention(RetentionPolicy.RUNTIME)
    @Target(ElementType.FIELD)
    @interface Bytes {
        int value();
    }

    /** The field as C names it, where that is not the constant's name in lower case. */
    @Retention(RetentionPolicy.RUNTIME)
    @Target(ElementType.FIELD)
    @interface Path {
        String value();
    }

    /** The kernel writes the field. */
    @Retention(RetentionPolicy.RUNTIME)
    @Target(ElementType.FIELD)
    @interface Out {}

    /** A descriptor that the caller passes. */
    @Retention(RetentionPolicy.RUNTIME)
    @Target(ElementType.FIELD)
    @interface Fd {}

    /** A descriptor that the kernel makes. */
    @Retention(RetentionPolicy.RUNTIME)
    @Target(ElementType.FIELD)
    @interface NewFd {
        FileKind value();
    }

    /** A global system interrupt. */
    @Retention(RetentionPolicy.RUNTIME)
    @Target(ElementType.FIELD)
    @interface Gsi {}

    /** Bits, each a constant that begins so. */
    @Retention(RetentionPolicy.RUNTIME)
    @Target(ElementType.FIELD)
    @interface Flags {
        String value() default "";
    }

    /** A number, one of the constants that begin so. */
    @Retention(RetentionPolicy.RUNTIME)
    @Target(ElementType.FIELD)
    @interface OneOf {
        String value();

        /** Shown by its whole name. */
        boolean whole() default false;
    }

    /** An address of the process. On a tape it is 0. */
    @Retention(RetentionPolicy.RUNTIME)
    @Target(ElementType.FIELD)
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
    @Target(ElementType.FIELD)
    @interface Length {}

    /** How many elements follow the structure. */
    @Retention(RetentionPolicy.RUNTIME)
    @Target(ElementType.FIELD)
    @interface Count {
        /** Of one, in bytes. */
        int bytes() default 0;

        /** One of them, where it is described. */
        Class<?> of() default Void.class;
    }

    /** The field holds under a condition: a bit of the structure's flags is set, or another field has a value. */
    @Retention(RetentionPolicy.RUNTIME)
    @Target(ElementType.FIELD)
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
    @Target(ElementType.FIELD)
    @interface Each {
        /** Bytes from one to the next. */
        int value();
    }

    /** A capability that has nothing to do with interrupts, though it is named here: a replay does not compare it. */
    @Retention(RetentionPolicy.RUNTIME)
    @Target(ElementType.FIELD)
    @interface Aside {}

    /** No bit of the flags that begin as it does, nor a value: a mask, or the number of a feature. */
    @Retention(RetentionPolicy.RUNTIME)
    @Target(ElementType.FIELD)
    @interface NotAFlag {}

    /** No header and no kernel has the number or the layout: it was derived from this source. */
    @Retention(RetentionPolicy.RUNTIME)
    @Target({ElementType.FIELD, ElementType.TYPE})
    @interface Inferred {
        String value();
    }

    /** The argument points to memory that has no structure's name in C. */
    @Retention(RetentionPolicy.RUNTIME)
    @Target(ElementType.TYPE)
    @interface NoStruct {}

    /** The argument points to text that ends in NUL. */
    static final class Text {
        private Text() {}
    }
}
