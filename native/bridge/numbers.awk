# Prints native methods for jni.c from kvmirq.h: for each function of numbers alone that returns an int, one that calls it, and
# NUMBERS, their rows. kvmirq_msi_signal() is msiSignal. A function with a pointer has its method in jni.c.
BEGIN {
    RS = ";"
    row["int"] = row["int32_t"] = row["uint32_t"] = "I"
    row["int64_t"] = row["uint64_t"] = "J"
}
/KVMIRQ_EXPORT int kvmirq_[a-z0-9_]+\([^()*]*\)$/ {
    sub(/.*KVMIRQ_EXPORT int kvmirq_/, "")
    split($0, parts, /[()]/)
    count = split(parts[2] == "void" ? "" : parts[2], arguments, ",")
    words = split(parts[1], word, "_")
    name = word[1]
    for (i = 2; i <= words; i++)
        name = name toupper(substr(word[i], 1, 1)) substr(word[i], 2)
    parameters = values = signature = ""
    for (i = 1; i <= count; i++) {
        split(arguments[i], argument, " ")
        java = row[argument[1]] == "J" ? "jlong" : "jint"
        signature = signature row[argument[1]]
        parameters = parameters ", " java " " argument[2]
        values = values (i > 1 ? ", " : "") "(" argument[1] ")" argument[2]
    }
    printf "static jint %s(ARGS%s)\n{\n\treturn kvmirq_%s(%s);\n}\n\n", name, parameters, parts[1], values
    rows = rows " \\\n\tMETHOD(" name ", \"(" signature ")I\"),"
}
END { print "#define NUMBERS" rows }
