/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class GuestAssemblerTest {
    /** The bytes are GNU as's: {@code .code16} with {@code .intel_syntax}. */
    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "out 0x82, al; in eax, dx | e68266ed",
                "mov al, 0xff; mov cx, 0x1234; mov eax, 1 | b0ffb9341266b801000000",
                "mov si, bx; mov bx, cs; mov ss, ax | 89de8ccb8ed0",
                "mov fs:[0xb0], eax; mov al, es:[4]; mov al, [0xf800] | 6466a3b00026a00400a000f8",
                "mov cx, [0x1000]; mov [si+0x1000], dl | 8b0e001088940010",
                "mov byte [0x508], 0; mov word [si+0x200], 7 | c606080500c78400020700",
                "inc dword [si+0x2000]; dec byte [0x10]; inc ah | 66ff840020fe0e1000fec4",
                "or eax, 0xc00; and word [0xf800], 0xff0 | 660d000c0000812600f8f00f",
                "add byte [0xf800], 1; cmp al, [0x10] | 800600f8013a061000",
                "add ax, 1; xor edx, edx; shl si, 2 | 83c0016631d2c1e602",
                "push eax; pop bx; pushad; cpuid; iret | 66505b66600fa2cf",
                "a: sti; b: hlt; jmp b; je a; jne a; call $+7 | fbf4ebfd74fa75f8e80400"
            })
    void encodesAsGnuAs(String text, String hex) {
        assertThat(GuestAssembler.asm(text)).isEqualTo(hex);
    }

    @Test
    void constantsEndWithASemicolon() {
        assertThat(GuestAssembler.asm(GuestAssembler.EOI + "hlt")).isEqualTo("66b90b0800006631c06631d20f30f4");
        assertThat(GuestAssembler.asm(GuestAssembler.LAPIC_ON + "hlt")).endsWith("0f30f4");
    }

    @ParameterizedTest
    @ValueSource(strings = {"std", "lea ax, [si]", "mov ax, [bx+8]", "jb $", "jmp"})
    void otherCodeIsRefused(String text) {
        assertThatThrownBy(() -> GuestAssembler.asm(text)).isInstanceOf(IllegalArgumentException.class);
    }
}
