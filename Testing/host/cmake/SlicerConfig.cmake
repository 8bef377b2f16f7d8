# Stands in for Slicer's build system: writes down what would be packaged, and where, instead of building it.
# Only the macros that the project uses; each takes the arguments that Slicer's own takes and refuses others.
set(Slicer_USE_FILE ${CMAKE_CURRENT_LIST_DIR}/Use.cmake)
set(Slicer_EXTENSION_GENERATE_CONFIG ${CMAKE_CURRENT_LIST_DIR}/Generate.cmake)
set(Slicer_EXTENSION_CPACK ${CMAKE_CURRENT_LIST_DIR}/Pack.cmake)
set(BUILD_TESTING ON)
