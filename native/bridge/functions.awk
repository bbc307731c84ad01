# Reads the exported functions of the C files, int kvmirq_noun_verb(...), and prints their declarations with the comments
# before them. With -v methods=1 it prints native methods for jni.c instead: for each function of numbers alone that returns
# an int, one that calls it, and NUMBERS, their rows. kvmirq_msi_signal() is msiSignal. A function with a pointer has its
# method in jni.c.
BEGIN {
    row["int"] = row["int32_t"] = row["uint32_t"] = "I"
    row["int64_t"] = row["uint64_t"] = "J"
}
/^\/\*/ { comment = "" }
/^(\/| )\*/ { comment = comment $0 "\n"; next }
/^int(64_t)? kvmirq_[a-z0-9_]+\(/ { text = "" ; inside = 1 }
inside && /^{/ { inside = 0; if (!seen[text]++) found() }
inside { text = text (text == "" ? "" : "\n") $0 }
!inside { comment = "" }

function found(    parts, count, arguments, words, word, name, i, parameters, values, signature, argument)
{
    if (!methods) {
        printf "%sKVMIRQ_EXPORT %s;\n\n", comment, text
        return
    }
    if (text !~ /^int kvmirq_[a-z0-9_]+\([^*]*\)$/)
        return
    sub(/^int kvmirq_/, "", text)
    split(text, parts, /[()]/)
    count = split(parts[2] == "void" ? "" : parts[2], arguments, ",")
    words = split(parts[1], word, "_")
    name = word[1]
    for (i = 2; i <= words; i++)
        name = name toupper(substr(word[i], 1, 1)) substr(word[i], 2)
    for (i = 1; i <= count; i++) {
        split(arguments[i], argument, " ")
        signature = signature row[argument[1]]
        parameters = parameters ", " (row[argument[1]] == "J" ? "jlong" : "jint") " " argument[2]
        values = values (i > 1 ? ", " : "") "(" argument[1] ")" argument[2]
    }
    printf "static jint %s(ARGS%s)\n{\n\treturn kvmirq_%s(%s);\n}\n\n", name, parameters, parts[1], values
    rows = rows " \\\n\tMETHOD(" name ", \"(" signature ")I\"),"
}
END { if (methods) print "#define NUMBERS" rows }
