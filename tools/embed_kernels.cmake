# Writes a C file with every kernel source as a byte array: lw_embedded_kernels[], ended by a NULL name.
set(table "")
file(WRITE ${OUTPUT}.new "/* Generated from cl/ by tools/embed_kernels.cmake. */\n")
foreach(kernel IN LISTS KERNELS)
  get_filename_component(name ${kernel} NAME_WE)
  file(READ ${kernel} bytes HEX)
  string(REGEX REPLACE "(..)" "0x\\1," bytes "${bytes}")
  string(REGEX REPLACE "((0x..,){24})" "\\1\n" bytes "${bytes}")
  file(APPEND ${OUTPUT}.new "static const char source_${name}[] = {\n${bytes}0};\n")
  string(APPEND table "\t{\"${name}\", source_${name}},\n")
endforeach()
file(APPEND ${OUTPUT}.new
  "struct lw_embedded_kernel {\n\tconst char *name, *text;\n};\n"
  "extern const struct lw_embedded_kernel lw_embedded_kernels[];\n"
  "const struct lw_embedded_kernel lw_embedded_kernels[] = {\n${table}\t{0, 0},\n};\n")
file(RENAME ${OUTPUT}.new ${OUTPUT})
